"""The dual-AR language model over text and codes; knows no corpus, training or sampling."""

from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR, DualAROutput

__all__ = ["DualAR", "DualARConfig", "DualAROutput", "load_dual_ar", "load_weights"]
