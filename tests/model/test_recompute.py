"""Recomputed blocks have the same output and gradients as blocks that keep their activations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fishdvc.model.recompute import recomputed


def gradients(call: Callable[..., Tensor], x: Tensor, *, autocast: bool) -> list[Tensor]:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)) for _ in range(3))
    layers[1][0].weight.requires_grad_(False)
    output = x
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for layer in layers:
            output = call(layer, output)
    tensors = [t for t in (x, *layers.parameters()) if t.requires_grad]
    found = [output, *torch.autograd.grad(output.float().square().sum(), tensors)]
    return [*found, torch.rand(2)]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("is_input_trained", [False, True])
def test_output_gradients_and_random_numbers_do_not_change(
    is_input_trained: bool, autocast: bool
) -> None:
    x = torch.randn(64, 8, requires_grad=is_input_trained)
    expected = gradients(lambda layer, x: layer(x), x, autocast=autocast)
    assert len(expected) == 7 + is_input_trained
    found = gradients(recomputed, x, autocast=autocast)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
