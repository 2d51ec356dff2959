from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fishdvc.codec.checkpoint import load_codec, merge_weight_norm
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.errors import CheckpointError


@pytest.fixture(scope="module")
def weights(assets: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(assets / "codec" / "generator.pth", weights_only=True)
    return loaded


def load(weights: object, tmp_path: Path, assets: Path, **options: Any) -> Codec:
    torch.save(weights, tmp_path / "codec.pth")
    return load_codec(tmp_path / "codec.pth", assets / "codec" / "config.json", **options)


def former_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    suffixes = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    for new, old in suffixes.items():
        weights = {key.replace(new, old): value for key, value in weights.items()}
    return weights


def wrapped(weights: dict[str, Tensor]) -> dict[str, object]:
    network = {f"generator.{key}": value for key, value in weights.items()}
    return {"state_dict": {**network, "discriminator.generator.x": torch.zeros(1)}, "epoch": 3}


@pytest.mark.parametrize("convert", [wrapped, former_weight_norm, merge_weight_norm, dict])
def test_every_format_loads_as_the_same_codec(
    codec: Codec, weights: dict[str, Tensor], tmp_path: Path, assets: Path, convert: Any
) -> None:
    loaded = load(convert(weights), tmp_path, assets).state_dict()
    assert loaded.keys() == codec.state_dict().keys()
    assert not any("parametrizations" in key for key in loaded)
    for key, value in codec.state_dict().items():
        assert torch.equal(loaded[key], value), key


def test_weight_norm_is_per_first_dimension() -> None:
    merged = merge_weight_norm(
        {
            "up.weight_g": torch.tensor([10.0, 2.0]).reshape(2, 1, 1),
            "up.weight_v": torch.tensor([[[3.0, 4.0]], [[0.0, 5.0]]]),
            "up.bias": torch.zeros(1),
        }
    )
    assert merged.keys() == {"up.weight", "up.bias"}
    torch.testing.assert_close(merged["up.weight"], torch.tensor([[[6.0, 8.0]], [[0.0, 2.0]]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_any_type_are_loaded_as_float32(
    weights: dict[str, Tensor], tmp_path: Path, assets: Path, dtype: torch.dtype
) -> None:
    loaded = load({k: v.to(dtype) for k, v in weights.items()}, tmp_path, assets)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training


def test_an_encoder_loads_from_a_file_without_decoder(
    weights: dict[str, Tensor], tmp_path: Path, assets: Path
) -> None:
    encoder_only = {
        k: v for k, v in weights.items() if not k.startswith(("head.", "quantizer.upsample."))
    }
    load(encoder_only, tmp_path, assets, decoder=False)
    with pytest.raises(CheckpointError, match=r"quantizer\.upsample\.0\.0\.conv\.bias: missing"):
        load(encoder_only, tmp_path, assets)


def test_all_keys_that_do_not_fit_are_listed(
    weights: dict[str, Tensor], tmp_path: Path, assets: Path
) -> None:
    changed = dict(weights)
    del changed["backbone.norm.bias"]
    name = "head.conv_pre.conv.parametrizations.weight.original0"
    changed[name] = torch.zeros(5, 1, 1)
    with pytest.raises(CheckpointError) as caught:
        load(changed, tmp_path, assets)
    assert "\n  backbone.norm.bias: missing" in str(caught.value)
    assert f"\n  {name}: unexpected" in str(caught.value)


def test_the_published_config_is_the_default(assets: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"expected shape \(128, 160, 7\), got \(16, 160, 7\)"
    ):
        load_codec(assets / "codec" / "generator.pth", decoder=False)


def test_a_trained_codec_loads_for_inference(tmp_path: Path, tiny_config: CodecConfig) -> None:
    torch.manual_seed(0)
    trained = Codec(tiny_config).eval()
    torch.save(trained.state_dict(), tmp_path / "codec.pth")
    loaded = load_codec(tmp_path / "codec.pth", tiny_config)
    codes = torch.randint(0, tiny_config.codebook_size, (1, 3, 4))
    audio, _ = loaded.decode(codes, torch.tensor([4]))
    expected, _ = trained.decode(codes, torch.tensor([4]))
    torch.testing.assert_close(audio, expected)
