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
from fishdvc.lora.files import Adapter, read_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.model.checkpoint import load_weights


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


@pytest.mark.parametrize(
    ("key", "change", "problem"),
    [
        ("layers.1.attention.wqkv.weight", lambda right, base: 2 * right - base, "the error is"),
        ("fast_output.weight", lambda right, base: with_row_77_of(base, right), "the error is"),
        ("embeddings.weight", lambda _, base: base, "the error is"),
        ("norm.weight", lambda _, base: base * 1.25, "changed without an adapter"),
        ("norm.weight", lambda _, base: base.double(), "expected (32,) of"),
        ("more.weight", lambda *_: torch.ones(1), "only in the merged model"),
    ],
)
def test_a_wrong_merge_is_reported(
    key: str,
    change: Callable[[Any, Any], Tensor],
    problem: str,
    base: dict[str, Tensor],
    adapter: Adapter,
) -> None:
    merged = merge_adapter(base, adapter)
    merged[key] = change(merged.get(key), base.get(key))
    with pytest.raises(CheckpointError) as error:
        check_merged(base, merged, adapter)
    assert f"{key}: {problem}" in str(error.value)
    assert "(1 problem)" in str(error.value)


def with_row_77_of(base: Tensor, right: Tensor) -> Tensor:
    changed = right.clone()
    changed[77] = base[77]
    return changed
