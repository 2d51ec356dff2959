"""The dual-AR language model over text and codes; knows no corpus, training or sampling."""

from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR, DualAROutput
from fishdvc.model.precision import float32_by_module

__all__ = [
    "DualAR",
    "DualARConfig",
    "DualAROutput",
    "float32_by_module",
    "load_dual_ar",
    "load_weights",
]
