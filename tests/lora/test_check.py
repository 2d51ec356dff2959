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


def wrong_scale(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    key = "layers.1.attention.wqkv.weight"
    weights[key] = (base[key] + 2 * (weights[key].float() - base[key].float())).to(base[key].dtype)


def wrong_row(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    key = "fast_output.weight"
    weights[key] = weights[key].clone()
    weights[key][77] = base[key][77]


def wrong_embedding(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["embeddings.weight"] = base["embeddings.weight"]


def wrong_norm(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["norm.weight"] = base["norm.weight"] * 1.25


def wrong_type(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["norm.weight"] = base["norm.weight"].double()


def wrong_keys(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["more.weight"] = base["norm.weight"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (wrong_scale, "layers.1.attention.wqkv.weight: the error is"),
        (wrong_row, "fast_output.weight: the error is"),
        (wrong_embedding, "embeddings.weight: the error is"),
        (wrong_norm, "norm.weight: changed without an adapter"),
        (wrong_type, "norm.weight: expected (32,) of"),
        (wrong_keys, "more.weight: only in the merged model"),
    ],
)
def test_a_wrong_merge_is_reported(
    change: Callable[[dict[str, Tensor], dict[str, Tensor]], None],
    named: str,
    base: dict[str, Tensor],
    adapter: Adapter,
) -> None:
    merged = merge_adapter(base, adapter)
    change(merged, base)
    with pytest.raises(CheckpointError) as error:
        check_merged(base, merged, adapter)
    assert named in str(error.value)
    assert "(1 problem)" in str(error.value)
