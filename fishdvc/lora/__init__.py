"""Low-rank adapters: training them on a model, saving, loading and merging.

Names are imported when first used: merging an adapter needs no PEFT, whose import takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fishdvc.lora.adapter import ALL_TARGETS, add_adapter, load_adapter, save_adapter
    from fishdvc.lora.files import read_adapter
    from fishdvc.lora.merge import Adapter, ModuleAdapter, merge_adapter
    from fishdvc.lora.reference import read_reference_adapter

__all__ = [
    "ALL_TARGETS",
    "Adapter",
    "ModuleAdapter",
    "add_adapter",
    "load_adapter",
    "merge_adapter",
    "read_adapter",
    "read_reference_adapter",
    "save_adapter",
]

_MODULE_OF = {
    "ALL_TARGETS": "adapter",
    "add_adapter": "adapter",
    "load_adapter": "adapter",
    "save_adapter": "adapter",
    "read_adapter": "files",
    "Adapter": "merge",
    "ModuleAdapter": "merge",
    "merge_adapter": "merge",
    "read_reference_adapter": "reference",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
