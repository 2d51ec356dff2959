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

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.merge import Adapter, ModuleAdapter, mismatches


@contextmanager
def applied_adapter(model: nn.Module, adapter: Adapter) -> Iterator[None]:
    """Add an adapter to what modules return, as long as the context lasts.

    Args:
        model: The base the adapter was trained on, computing in any type; the adapter's part is
            computed in float32 and rounded once.
        adapter: Trained on this model.

    Raises:
        CheckpointError: The adapter belongs to another base; all differences are listed.
    """
    if problems := mismatches(model.state_dict(), adapter):
        raise CheckpointError(
            list_problems("adapter: does not fit the base; give its own", problems)
        )
    handles = [
        model.get_submodule(name).register_forward_hook(_hook(module, adapter.scale))
        for name, module in adapter.modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def adapt_output(
    module: ModuleAdapter, scale: float, weight: Tensor, inputs: Tensor, output: Tensor
) -> Tensor:
    """Add a module's adapter to what its frozen weight computed.

    Args:
        module: What was learned.
        scale: Factor of the product of A and B.
        weight: The frozen weight; DoRA's norms are those of its sum with the product.
        inputs: Of the module: activations ``(..., in)``; of an embedding ids ``(...)``.
        output: What the module computed from them without the adapter, float32.
    """
    lora_a, lora_b = module.lora_a.float(), module.lora_b.float()
    if module.is_embedding:
        narrow = functional.embedding(inputs, lora_a.T)
    else:
        narrow = functional.linear(inputs.float(), lora_a)
    adapted = output + scale * functional.linear(narrow, lora_b)
    if module.magnitude is None:
        return adapted
    product = (lora_b @ lora_a).T if module.is_embedding else lora_b @ lora_a
    norms = torch.linalg.norm(weight.float() + scale * product, dim=0 if module.is_embedding else 1)
    rescaled: Tensor = adapted * (module.magnitude / norms)
    return rescaled


def _hook(module: ModuleAdapter, scale: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        weight = layer.get_parameter("weight")
        return adapt_output(module, scale, weight, inputs[0], output.float()).type_as(output)

    return add
