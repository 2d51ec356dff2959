"""Fixtures for tests of adapters."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from fishdvc.lora.adapter import add_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR

OPTIONS = [{}, {"use_rslora": True}, {"use_dora": True}]


@pytest.fixture(scope="session")
def load_base(assets: Path) -> Callable[..., DualAR]:
    """Load the small model."""
    return lambda **options: load_dual_ar(assets / "text2semantic", **options)


@pytest.fixture(scope="session")
def adapted(load_base: Callable[..., DualAR]) -> Callable[..., PeftModel]:
    """Make the small model with a random adapter."""

    def adapted(*, seed: int = 0, r: int = 4, **options: bool) -> PeftModel:
        peft_model = add_adapter(load_base(), r=r, alpha=8, dropout=0.0, **options)
        generator = torch.Generator().manual_seed(seed)
        for parameter in peft_model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data.add_(noise.abs(), alpha=0.03)
        return peft_model.eval()

    return adapted
