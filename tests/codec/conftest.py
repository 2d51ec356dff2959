"""Small codecs, and tensors computed by the reference implementation."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig
from fishdvc.device import choose_device


@pytest.fixture(scope="session")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "codec" / "io.safetensors")


@pytest.fixture(scope="session")
def codec(assets: Path) -> Codec:
    return load_codec(assets / "codec" / "generator.pth", assets / "codec" / "config.json")


@pytest.fixture
def padded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute on the CPU as on other devices."""
    monkeypatch.setattr("fishdvc.codec.layers.on_cpu", lambda _: False)


@pytest.fixture(params=["cpu", "padded batches", pytest.param("cuda", marks=pytest.mark.cuda)])
def any_codec(request: pytest.FixtureRequest, codec: Codec, assets: Path) -> Codec:
    """The codec on a CPU, on a CPU computing as on other devices, and on CUDA."""
    if request.param == "padded batches":
        request.getfixturevalue("padded_batches")
    if request.param == "cuda":
        folder = assets / "codec"
        device = choose_device("cuda")
        return load_codec(folder / "generator.pth", folder / "config.json", device=device)
    return codec


@pytest.fixture(scope="session")
def tiny_config() -> CodecConfig:
    """16 kHz, two coordinates per code, a single downsampling, one branch in the head."""
    values = CodecConfig.read(FIREFLY).model_dump()
    values["spec_transform"] = {"sample_rate": 16000, "n_mels": 80, "n_fft": 1024}
    values["spec_transform"] |= {"hop_length": 256, "win_length": 1024}
    values["backbone"] |= {"input_channels": 80, "depths": [1, 1], "dims": [8, 12]}
    values["head"] |= {"hop_length": 256, "num_mels": 12, "upsample_initial_channel": 8}
    values["head"] |= {"upsample_rates": [16, 16], "upsample_kernel_sizes": [32, 32]}
    values["head"] |= {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
    values["quantizer"] |= {"input_dim": 12, "n_groups": 3, "levels": [3, 4]}
    values["quantizer"] |= {"downsample_factor": [3]}
    return CodecConfig.model_validate(values)
