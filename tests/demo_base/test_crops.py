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


def sampler(speech: Path, human_share: float) -> CropSampler:
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
    return CropSampler(speech, params, frame_length_samples=FRAME_LENGTH_SAMPLES)


def write_clip(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    clip = Waveform(samples=samples.astype(np.float32), sample_rate_hz=16000)
    write_flac(path, clip, comment="test")


@pytest.fixture
def speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write clips of a constant value per kind of voice."""

    def read_with_offset(path: Path) -> Waveform:
        samples, rate_hz = soundfile.read(path, dtype="float32")
        return Waveform(samples=samples, sample_rate_hz=rate_hz)

    # read_waveform removes a constant value.
    monkeypatch.setattr(crops, "read_waveform", read_with_offset)
    for voice, value in (("af_sky", SYNTHETIC), ("am_adam", SYNTHETIC), ("june-fr", HUMAN)):
        for number, num_samples in enumerate((500, 500, 290, 320)):
            write_clip(tmp_path / voice / f"{number}.flac", np.full(num_samples, value))
    # A voice without a clip that is long enough is left out.
    write_clip(tmp_path / "af_bella" / "0.flac", np.full(10, SYNTHETIC))
    return tmp_path


@pytest.mark.parametrize(("human_share", "value"), [(0.0, SYNTHETIC), (1.0, HUMAN)])
def test_crops_are_of_the_requested_voices_at_random_gains(
    speech: Path, human_share: float, value: float
) -> None:
    batch = sampler(speech, human_share).batch(7)
    assert batch.shape == (40, 3 * FRAME_LENGTH_SAMPLES)
    torch.testing.assert_close(batch, batch[:, :1].expand_as(batch))
    gains_db = 20 * torch.log10(batch[:, 0] / value)
    assert gains_db.abs().max() < 6.1
    assert gains_db.std() > 1


def test_the_crops_depend_only_on_seed_and_step(speech: Path) -> None:
    drawn = sampler(speech, 0.5)
    assert torch.equal(drawn.batch(3), sampler(speech, 0.5).batch(3))
    assert not torch.equal(drawn.batch(3), drawn.batch(4))


def test_some_crops_play_faster_and_some_slower(tmp_path: Path) -> None:
    for voice in ("af_sky", "june-fr"):
        write_clip(tmp_path / voice / "ramp.flac", np.linspace(0, 0.4, 4000))
    drawn = sampler(tmp_path, 0.5)
    slopes = [np.ptp(drawn._crop(np.random.default_rng(i))) / 300 for i in range(60)]
    original = 0.4 * 32767 / 4000
    assert min(slopes) < 0.9 * original
    assert max(slopes) > 1.1 * original
    assert sum(abs(slope / original - 1) < 0.02 for slope in slopes) > 15
