"""Gradient checkpointing: activations are computed again in the backward pass, not kept."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def recomputed(layer: nn.Module, x: Tensor, *args: Any) -> Tensor:
    """Return ``layer(x, *args)``, and keep only ``x`` for the backward pass.

    ``torch.utils.checkpoint`` calls Python for every tensor that the layer would keep. On a GPU,
    these calls are a noticeable part of a step.

    Args:
        layer: A layer whose random numbers are those of the device of ``x``.
        x: The only argument that gets a gradient.
        args: Further arguments.
    """
    trained = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    output: Tensor = _Recomputed.apply(layer, args, x, *trained)
    return output


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, layer: nn.Module, args: tuple[Any, ...], x: Tensor, *trained: nn.Parameter
    ) -> Tensor:
        device = x.device.type
        ctx.layer, ctx.args, ctx.trained = layer, args, trained
        ctx.autocast = torch.autocast(
            device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        )
        ctx.random = torch if device == "cpu" else torch.get_device_module(device)
        ctx.random_state = ctx.random.get_rng_state()
        ctx.save_for_backward(x)
        # With gradients, because some layers compute differently without.
        with torch.enable_grad():
            output: Tensor = layer(x.detach(), *args)
        return output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        state = ctx.random.get_rng_state()
        ctx.random.set_rng_state(ctx.random_state)
        with torch.enable_grad(), ctx.autocast:
            leaf = x.detach().requires_grad_(ctx.needs_input_grad[2])
            output = ctx.layer(leaf, *ctx.args)
        ctx.random.set_rng_state(state)
        wanted = [tensor for tensor in (leaf, *ctx.trained) if tensor.requires_grad]
        grads = torch.autograd.grad(output, wanted, output_grad, allow_unused=True)
        return (None, None, *([] if leaf.requires_grad else [None]), *grads)
