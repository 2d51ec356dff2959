import json
from pathlib import Path
from typing import Any

import pytest

from fishdvc.codec.config import FIREFLY, CodecConfig, codec_config_path
from fishdvc.errors import CheckpointError


def read(values: object, folder: Path) -> CodecConfig:
    (folder / "codec.json").write_text(json.dumps(values))
    return CodecConfig.read(folder / "codec.json")


def test_a_written_config_is_read_back_the_same(assets: Path, tmp_path: Path) -> None:
    path = assets / "codec" / "config.json"
    config = CodecConfig.read(path)
    assert json.loads(json.dumps(config.model_dump())) == json.loads(path.read_text())
    assert read(config.model_dump(), tmp_path) == config


def test_derived_numbers_follow_the_config(tiny_config: CodecConfig) -> None:
    firefly = CodecConfig.read(FIREFLY)
    assert firefly.sample_rate_hz == 44100
    assert firefly.hop_length == 512
    assert firefly.mel_frames_per_frame == 4
    assert [firefly.frame_length_samples, tiny_config.frame_length_samples] == [2048, 256 * 3]
    assert [firefly.num_codebooks, tiny_config.num_codebooks] == [8, 3]
    assert [firefly.codebook_size, tiny_config.codebook_size] == [1000, 12]


def test_every_problem_of_a_file_is_reported_at_once(tmp_path: Path) -> None:
    values = CodecConfig.read(FIREFLY).model_dump()
    values["extra"] = 1
    values["spec_transform"]["win_length"] = 1024
    values["backbone"] |= {"dims": [128, 0, "384", True], "drop_path_rate": "0.2", "kernelsize": 7}
    values["head"] |= {"upsample_rates": 8, "resblock_dilation_sizes": [[1], [1, 0], [1]]}
    del values["quantizer"]["levels"]
    with pytest.raises(CheckpointError) as caught:
        read(values, tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/codec.json: correct these values (10 problems):",
        "  spec_transform.win_length: must be n_fft (2048), got 1024",
        "  backbone.dims[1]: must be greater than or equal to 1, got 0",
        "  backbone.dims[2]: must be an integer, got '384'",
        "  backbone.dims[3]: must be an integer, got True",
        "  backbone.drop_path_rate: must be a number, got '0.2'",
        "  backbone.kernelsize: unknown; did you mean 'kernel_size'?",
        "  head.upsample_rates: must be a list, got 8",
        "  head.resblock_dilation_sizes[1][1]: must be greater than or equal to 1, got 0",
        "  quantizer.levels: missing",
        "  extra: unknown",
    ]


@pytest.mark.parametrize(
    ("section", "change", "problem"),
    [
        ("spec_transform", {"hop_length": 4096}, "spec_transform.hop_length: must be at most"),
        ("backbone", {"depths": [3, 3]}, "backbone.depths, dims: must have one item per stage"),
        ("backbone", {"dims": [], "depths": []}, "backbone.depths, dims: must have one item"),
        (
            "backbone",
            {"depths": [10**8, 3, 9, 3]},
            "backbone.depths[0]: must be less than or equal",
        ),
        ("backbone", {"depths": [100] * 4, "dims": [9000] * 4}, "must give at most 10^9 weights"),
        ("quantizer", {"levels": [2] * 25}, "quantizer.levels: their product must be at most"),
        ("quantizer", {"levels": [2] * 65}, "quantizer.levels: "),
        ("backbone", {"drop_path_rate": 1}, "backbone.drop_path_rate: must be less than 1, got 1"),
        ("backbone", {"input_channels": 80}, "backbone.input_channels: must be n_mels (160)"),
        ("head", {"upsample_rates": [8, 8, 2, 2, 4]}, "head.upsample_rates: their product must"),
        ("head", {"upsample_kernel_sizes": [16, 16, 4, 4, 1]}, "head.upsample_kernel_sizes: must"),
        ("head", {"upsample_kernel_sizes": [16, 16, 4, 4]}, "head.upsample_kernel_sizes: must"),
        ("head", {"resblock_kernel_sizes": [3]}, "head.resblock_kernel_sizes, resblock_dilation"),
        ("head", {"upsample_initial_channel": 48}, "must be divisible by 2 ** 5, because"),
        ("head", {"num_mels": 160}, "head.num_mels: must be quantizer.input_dim (512), got 160"),
        ("quantizer", {"n_groups": 7}, "quantizer.n_groups: must divide input_dim (512), got 7"),
        ("quantizer", {"n_codebooks": 2}, "quantizer.n_codebooks: must be 1, got 2"),
        ("quantizer", {"levels": [8, 1]}, "quantizer.levels[1]: must be greater than or equal"),
        ("quantizer", {"levels": []}, "quantizer.levels: must have at least one item"),
    ],
)
def test_inconsistent_values_are_rejected(
    section: str, change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    values = CodecConfig.read(FIREFLY).model_dump()
    values[section].update(change)
    with pytest.raises(CheckpointError) as caught:
        read(values, tmp_path)
    assert problem in str(caught.value)


def test_the_config_is_the_json_beside_the_weights_or_that_of_firefly(tmp_path: Path) -> None:
    checkpoint = tmp_path / "firefly-1.5-21hz.pth"
    (tmp_path / "config.json").touch()
    assert codec_config_path(checkpoint) == FIREFLY
    config = tmp_path / "firefly-1.5-21hz.json"
    config.touch()
    assert codec_config_path(checkpoint) == config
