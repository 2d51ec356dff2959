import json
from pathlib import Path
from typing import Any

import pytest

from fishdvc.codec.config import CodecConfig
from fishdvc.errors import CheckpointError


def test_a_config_survives_json(assets: Path) -> None:
    path = assets / "codec" / "config.json"
    config = CodecConfig.read(path)
    written = json.loads(json.dumps(config.to_dict()))
    assert written == json.loads(path.read_text())
    assert CodecConfig.from_dict(written) == config


def test_derived_numbers_of_the_published_codec() -> None:
    config = CodecConfig.firefly()
    assert config.sample_rate_hz == 44100
    assert config.hop_length == 512
    assert config.mel_frames_per_frame == 4
    assert config.frame_length_samples == 2048
    assert config.num_codebooks == 8
    assert config.codebook_size == 1000


def test_derived_numbers_follow_the_config(tiny_config: CodecConfig) -> None:
    assert tiny_config.frame_length_samples == 256 * 3
    assert tiny_config.num_codebooks == 3
    assert tiny_config.codebook_size == 12


def test_every_problem_is_reported_at_once() -> None:
    values = CodecConfig.firefly().to_dict()
    values["extra"] = 1
    values["spec_transform"]["win_length"] = 1024
    values["backbone"]["dims"] = [128, 0, "384", True]
    values["backbone"]["drop_path_rate"] = "0.2"
    values["head"]["upsample_rates"] = 8
    del values["quantizer"]["levels"]
    with pytest.raises(CheckpointError) as caught:
        CodecConfig.from_dict(values, where="codec.json")
    for problem in (
        "codec.json: not a usable codec",
        "(8 problems)",
        "extra: unknown key",
        "spec_transform.win_length: n_fft (2048) needed, got 1024",
        "backbone.dims[1]: a whole number of at least 1 needed, got 0",
        "backbone.dims[2]: a whole number of at least 1 needed, got '384'",
        "backbone.dims[3]: a whole number of at least 1 needed, got True",
        "backbone.drop_path_rate: a number needed, got '0.2'",
        "head.upsample_rates: a list needed, got 8",
        "quantizer.levels: missing",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("section", "change", "problem"),
    [
        ("spec_transform", {"hop_length": 4096}, "spec_transform.hop_length: at most win_length"),
        ("backbone", {"depths": [3, 3]}, "backbone.depths, dims: one of each per stage"),
        ("backbone", {"drop_path_rate": 1}, "backbone.drop_path_rate: 0 <= rate < 1"),
        ("backbone", {"input_channels": 80}, "backbone.input_channels must be"),
        ("head", {"upsample_rates": [8, 8, 2, 2, 4]}, "head.upsample_rates: a product"),
        ("head", {"upsample_kernel_sizes": [16, 16, 4, 4, 1]}, "head.upsample_kernel_sizes"),
        ("head", {"resblock_kernel_sizes": [3]}, "head.resblock_kernel_sizes"),
        ("head", {"upsample_initial_channel": 48}, "divisible by 32 needed"),
        ("head", {"num_mels": 160}, "head.num_mels must be quantizer.input_dim: 512 needed"),
        ("quantizer", {"n_groups": 7}, "quantizer.n_groups: a divisor of input_dim (512)"),
        ("quantizer", {"n_codebooks": 2}, "quantizer.n_codebooks: 1 per group"),
        ("quantizer", {"levels": [8, 1]}, "quantizer.levels: each at least 2"),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    section: str, change: dict[str, Any], problem: str
) -> None:
    values = CodecConfig.firefly().to_dict()
    values[section].update(change)
    with pytest.raises(CheckpointError) as caught:
        CodecConfig.from_dict(values)
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", [None, "{", "[]", "3"])
def test_a_file_that_holds_no_config_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        CodecConfig.read(path)
