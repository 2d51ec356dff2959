"""The check of a merged model finds every error that is larger than rounding errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.check import check_merged
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import Adapter, merge_adapter
from fishdvc.model.checkpoint import load_weights

Change = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module", params=[False, True], ids=["lora", "dora"])
def adapter(
    request: pytest.FixtureRequest, adapted: Any, tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(adapted(use_dora=request.param), folder / "a")
    return read_adapter(folder / "a")


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def base(request: pytest.FixtureRequest, assets: Path) -> dict[str, Tensor]:
    weights = load_weights(assets / "text2semantic/model.pth")
    return {key: value.to(request.param) for key, value in weights.items()}


def test_a_correct_merge_passes(base: dict[str, Tensor], adapter: Adapter) -> None:
    check_merged(base, merge_adapter(base, adapter), adapter)


WRONG_WEIGHTS: dict[str, tuple[str, Change, str]] = {
    "scale": (
        "layers.1.attention.wqkv.weight",
        lambda base, merged: (2 * merged.float() - base.float()).to(base.dtype),
        "the error is",
    ),
    "row": (
        "fast_output.weight",
        lambda base, merged: torch.cat((merged[:77], base[77:78], merged[78:])),
        "the error is",
    ),
    "embedding": ("embeddings.weight", lambda base, _merged: base, "the error is"),
    "norm": ("norm.weight", lambda base, _merged: base * 1.25, "changed without an adapter"),
    "type": ("norm.weight", lambda base, _merged: base.double(), "expected (32,) of"),
}
"""Key, wrong weight and message."""


@pytest.mark.parametrize(("key", "change", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_wrong_weight_is_reported(
    key: str, change: Change, message: str, base: dict[str, Tensor], adapter: Adapter
) -> None:
    merged = merge_adapter(base, adapter)
    merged[key] = change(base[key], merged[key])
    with pytest.raises(CheckpointError) as error:
        check_merged(base, merged, adapter)
    assert f"(1 problem):\n  {key}: {message}" in str(error.value)


def test_other_keys_are_reported(base: dict[str, Tensor], adapter: Adapter) -> None:
    merged = merge_adapter(base, adapter)
    merged["more.weight"] = merged.pop("norm.weight")
    with pytest.raises(CheckpointError, match="only in the base") as error:
        check_merged(base, merged, adapter)
    assert "more.weight: only in the merged model" in str(error.value)
