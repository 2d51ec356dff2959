"""Computation in float32, one module at a time."""

from pathlib import Path

import torch

from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.precision import float32_by_module


def test_it_computes_the_same_as_a_float32_model_and_restores_the_weights(assets: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randint(1, 1000, (1, 9, 12))
    small = load_dual_ar(assets / "text2semantic", dtype=torch.bfloat16)
    before = dict(small.named_parameters())
    with torch.inference_mode():
        with float32_by_module(small):
            found = small(inputs)
        wide = load_dual_ar(assets / "text2semantic", dtype=torch.bfloat16).float()
        expected = wide(inputs)
    assert found.token_logits.dtype == torch.float32
    torch.testing.assert_close(found.token_logits, expected.token_logits, rtol=0, atol=0)
    torch.testing.assert_close(found.codebook_logits, expected.codebook_logits, rtol=0, atol=0)
    assert all(parameter is before[name] for name, parameter in small.named_parameters())
    assert not any(module._forward_hooks for module in small.modules())
