"""Generation: from texts to codes and sound, to hear what a model has learned.

Names are imported when first used: settings can be checked before torch, whose import takes
seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fishdvc.generation.settings import Sampling
    from fishdvc.generation.speaker import Reference, Speaker, Speech

__all__ = ["Reference", "Sampling", "Speaker", "Speech"]

_MODULE_OF = {
    "Reference": "speaker",
    "Sampling": "settings",
    "Speaker": "speaker",
    "Speech": "speaker",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
