from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from demo_base.recipe import crops
from demo_base.recipe.crops import CropSampler, CropTrainingParams
from demo_base.recipe.voices import GroupShares
from fishdvc.audio.waveform import Waveform, write_flac

FRAME_LENGTH_SAMPLES = 100
SYNTHETIC, HUMAN = 0.1, 0.4


def sampler(speech: Path, human_share: float, *, phone_labels: Path | None = None) -> CropSampler:
    params = CropTrainingParams(
        seed=5,
        num_steps=1,
        batch_size=40,
        crop_frames=3,
        initial_weights=None,
        group_shares=GroupShares(human=human_share, hibari=0, kokoro=1 - human_share),
        learning_rate=1.0,
        warmup_steps=1,
    )
    return CropSampler(
        speech, params, frame_length_samples=FRAME_LENGTH_SAMPLES, phone_labels=phone_labels
    )


def write_clip(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = Waveform(samples=samples.astype(np.float32), sample_rate_hz=16000)
    write_flac(path, clip, comment="test")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder. Its clips are read as they are, without random responses and noise."""

    def read_with_offset(path: Path) -> Waveform:
        samples, rate_hz = soundfile.read(path, dtype="float32")
        return Waveform(samples=samples, sample_rate_hz=rate_hz)

    # read_waveform removes a constant value.
    monkeypatch.setattr(crops, "read_waveform", read_with_offset)
    monkeypatch.setattr(crops, "EQUALIZED_SHARE", 0)
    monkeypatch.setattr(crops, "NOISY_SHARE", 0)
    return tmp_path


@pytest.fixture
def speech(folder: Path) -> Path:
    """Write clips of a constant value per kind of voice."""
    for voice, value in (("af_sky", SYNTHETIC), ("am_adam", SYNTHETIC), ("june-fr", HUMAN)):
        for number, num_samples in enumerate((500, 500, 290, 320)):
            write_clip(folder / voice / f"{number}.flac", np.full(num_samples, value))
    # A voice without a clip that is long enough is left out.
    write_clip(folder / "af_bella" / "0.flac", np.full(10, SYNTHETIC))
    return folder


@pytest.mark.parametrize(("human_share", "value"), [(0.0, SYNTHETIC), (1.0, HUMAN)])
def test_crops_are_of_the_requested_voices_at_random_gains(
    speech: Path, human_share: float, value: float
) -> None:
    batch, labels = sampler(speech, human_share).batch(7)
    assert labels is None
    assert batch.shape == (40, 3 * FRAME_LENGTH_SAMPLES)
    torch.testing.assert_close(batch, batch[:, :1].expand_as(batch))
    gains_db = 20 * torch.log10(batch[:, 0] / value)
    assert gains_db.abs().max() < 6.1
    assert gains_db.std() > 1


def test_the_crops_depend_only_on_seed_and_step(speech: Path) -> None:
    drawn = sampler(speech, 0.5)
    assert torch.equal(drawn.batch(3).audio, sampler(speech, 0.5).batch(3).audio)
    assert not torch.equal(drawn.batch(3).audio, drawn.batch(4).audio)


@pytest.fixture
def ramps(folder: Path) -> Path:
    """Write clips whose value and whose label both are the place in the clip, from 0 to 0.4."""
    for voice in ("af_sky", "june-fr"):
        write_clip(folder / "speech" / voice / "0.flac", np.arange(4000) / 10000)
        labels = np.repeat((np.arange(80) + 0.5) / 200, 2).reshape(80, 2)
        (folder / "labels" / voice).mkdir(parents=True)
        np.save(folder / "labels" / voice / "0.npy", labels.astype(np.float16))
    return folder


def test_some_crops_play_faster_and_some_slower(
    ramps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "GAIN_DB", 0)
    drawn = sampler(ramps / "speech", 0.5)
    slopes = [np.ptp(drawn._crop(np.random.default_rng(i))[0]) / 299 for i in range(60)]
    original = 1 / 10000
    assert min(slopes) < 0.9 * original
    assert max(slopes) > 1.1 * original
    assert sum(abs(slope / original - 1) < 0.02 for slope in slopes) > 15


def test_labels_are_those_of_the_half_frames_of_the_crop(
    ramps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "GAIN_DB", 0)
    drawn = sampler(ramps / "speech", 0.5, phone_labels=ramps / "labels")
    audio, labels = drawn.batch(0)
    assert labels is not None
    assert labels.shape == (40, 6, 2)
    means = audio.unflatten(1, (6, FRAME_LENGTH_SAMPLES // 2)).mean(dim=2)
    torch.testing.assert_close(labels[..., 1], means, atol=1e-3, rtol=0)


def test_noise_has_a_level_relative_to_the_crop(
    ramps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "GAIN_DB", 0)
    monkeypatch.setattr(crops, "NOISY_SHARE", 1)
    drawn = sampler(ramps / "speech", 0.5)
    tone = np.sin(np.arange(20000) * 0.3) * 0.1
    noise = [drawn._recorded(tone, np.random.default_rng(i)) - tone for i in range(20)]
    levels_db = [20 * np.log10(np.std(part) / np.std(tone)) for part in noise]
    low, high = crops.NOISE_DB
    assert all(low - 0.3 < level < high + 0.3 for level in levels_db)
    assert max(levels_db) - min(levels_db) > 10
