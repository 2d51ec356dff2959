"""The small model of tests/assets."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR


@pytest.fixture(scope="package")
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic")


@pytest.fixture(scope="package")
def golden(assets: Path) -> dict[str, Tensor]:
    """Prompts and greedy sequences of the reference implementation."""
    return load_file(assets / "text2semantic/greedy.safetensors")
