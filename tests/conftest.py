"""Fixtures for all tests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

# Models here are so small that threads would only wait for each other.
torch.set_num_threads(1)

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator"


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of small files that tests compare with."""
    return Path(__file__).parent / "assets"


@pytest.fixture(scope="session")
def top() -> Path:
    """The project's top folder."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def base_folder(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole base folder in the published format, of the small models; not to be changed."""
    folder = tmp_path_factory.mktemp("base")
    for name in ("config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json"):
        shutil.copyfile(assets / "text2semantic" / name, folder / name)
    shutil.copyfile(assets / "codec/generator.pth", folder / f"{CODEC_NAME}.pth")
    shutil.copyfile(assets / "codec/config.json", folder / f"{CODEC_NAME}.json")
    return folder


MakeClip = Callable[..., Path]


@pytest.fixture(scope="session")
def make_clip() -> MakeClip:
    """Write an audio file that sounds a little like speech, and its transcript beside it.

    Its arguments: the audio file's path; ``seconds``, ``rate_hz``, ``seed`` and ``peak`` of the
    sound; ``text``, or ``None`` for no transcript. Returns the path.
    """

    def make(
        path: Path,
        *,
        seconds: float = 0.6,
        rate_hz: int = 16000,
        seed: int = 0,
        peak: float = 0.5,
        text: str | None = "Hello there.",
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        pitch_hz = rng.uniform(100, 200)
        voice = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 9))
        voice = voice * (1.2 + np.sin(2 * np.pi * 4 * time_s)) + rng.normal(0, 0.1, len(time_s))
        samples = (voice * peak / np.abs(voice).max()).astype(np.float32)
        soundfile.write(path, samples, rate_hz)
        if text is not None:
            path.with_suffix(".lab").write_text(text, encoding="utf-8")
        return path

    return make
