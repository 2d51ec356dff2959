"""Let a model compute with an adapter without merging it and without PEFT.

Its arithmetic is apart from ``merge_adapter``'s: the adapter acts on activations, so that each can
check the other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fishdvc.lora.merge import Adapter, ModuleAdapter


@contextmanager
def applied_adapter(model: nn.Module, adapter: Adapter) -> Iterator[None]:
    """Add an adapter to what modules return, as long as the context lasts.

    Args:
        model: The base the adapter was trained on, in float32.
        adapter: Its modules must be in the model.
    """
    handles = [
        model.get_submodule(name).register_forward_hook(_hook(module, adapter.scale))
        for name, module in adapter.modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(module: ModuleAdapter, scale: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    lora_a, lora_b = module.lora_a.float(), module.lora_b.float()

    def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if module.is_embedding:
            narrow = functional.embedding(inputs[0], lora_a.T)
        else:
            narrow = functional.linear(inputs[0], lora_a)
        adapted = output + scale * functional.linear(narrow, lora_b)
        if module.magnitude is None:
            return adapted
        weight = layer.get_parameter("weight")
        if module.is_embedding:
            norms = torch.linalg.norm(weight + scale * (lora_b @ lora_a).T, dim=0)
        else:
            norms = torch.linalg.norm(weight + scale * lora_b @ lora_a, dim=1)
        rescaled: Tensor = adapted * (module.magnitude / norms)
        return rescaled

    return add
