"""The check of a merged model sees what rounding does not explain, and only that."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.lora.check import check_merged
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import Adapter, merge_adapter
from fishdvc.model.checkpoint import load_dual_ar, load_weights


@pytest.fixture(scope="module", params=[False, True], ids=["lora", "dora"])
def adapter(
    request: pytest.FixtureRequest, assets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    torch.manual_seed(0)
    model = load_dual_ar(assets / "text2semantic")
    adapted = add_adapter(model, r=4, alpha=8, dropout=0.0, use_dora=request.param)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.add_(0.02 * torch.randn_like(parameter).abs())
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(adapted, folder / "a")
    return read_adapter(folder / "a")


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def base(request: pytest.FixtureRequest, assets: Path) -> dict[str, Tensor]:
    weights = load_weights(assets / "text2semantic/model.pth")
    return {key: value.to(request.param) for key, value in weights.items()}


def test_a_right_merge_passes(base: dict[str, Tensor], adapter: Adapter) -> None:
    check_merged(base, merge_adapter(base, adapter), adapter)


def spoil_scale(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    key = "layers.1.attention.wqkv.weight"
    weights[key] = (base[key] + 2 * (weights[key].float() - base[key].float())).to(base[key].dtype)


def spoil_row(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    key = "fast_output.weight"
    weights[key] = weights[key].clone()
    weights[key][77] = base[key][77]


def spoil_embedding(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["embeddings.weight"] = base["embeddings.weight"]


def spoil_norm(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["norm.weight"] = base["norm.weight"] * 1.25


def spoil_type(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["norm.weight"] = base["norm.weight"].double()


def spoil_keys(weights: dict[str, Tensor], base: dict[str, Tensor]) -> None:
    weights["more.weight"] = base["norm.weight"]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_scale, "layers.1.attention.wqkv.weight: off by"),
        (spoil_row, "fast_output.weight: off by"),
        (spoil_embedding, "embeddings.weight: off by"),
        (spoil_norm, "norm.weight: has no adapter, but changed"),
        (spoil_type, "norm.weight: (32,) of torch.float64"),
        (spoil_keys, "more.weight: only in the merged model"),
    ],
)
def test_a_wrong_merge_is_named(
    spoil: Callable[[dict[str, Tensor], dict[str, Tensor]], None],
    named: str,
    base: dict[str, Tensor],
    adapter: Adapter,
) -> None:
    merged = merge_adapter(base, adapter)
    spoil(merged, base)
    with pytest.raises(CheckpointError) as error:
        check_merged(base, merged, adapter)
    assert named in str(error.value)
    assert "(1 problem)" in str(error.value)
