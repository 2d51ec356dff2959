from pathlib import Path

import numpy as np
import pytest
import torch

from demo_base.speech import CropSampler, CropTrainingParams
from fishdvc.audio.waveform import Waveform, write_flac

FRAME_LENGTH_SAMPLES = 100
MACHINE, HUMAN = 0.1, 0.4


def params(human_share: float) -> CropTrainingParams:
    return CropTrainingParams(
        seed=5,
        num_steps=1,
        batch_size=40,
        crop_frames=3,
        human_share=human_share,
        learning_rate=1.0,
    )


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Clips of one value, so that a crop tells whose it is, whatever its speed."""
    for voice, value in (("slt", MACHINE), ("rms", MACHINE), ("june-fr", HUMAN)):
        (tmp_path / voice).mkdir()
        for number, num_samples in enumerate((500, 500, 290, 320)):
            samples = np.full(num_samples, value, dtype=np.float32)
            clip = Waveform(samples=samples, sample_rate_hz=16000)
            write_flac(tmp_path / voice / f"{number}.flac", clip, comment="test")
    return tmp_path


def crops_of(speech: Path, human_share: float) -> CropSampler:
    return CropSampler(speech, params(human_share), frame_length_samples=FRAME_LENGTH_SAMPLES)


@pytest.mark.parametrize(("human_share", "value"), [(0.0, MACHINE), (1.0, HUMAN)])
def test_crops_are_of_the_voices_asked_for(speech: Path, human_share: float, value: float) -> None:
    batch = crops_of(speech, human_share).batch(7)
    assert batch.shape == (40, 3 * FRAME_LENGTH_SAMPLES)
    torch.testing.assert_close(batch, batch[:, :1].expand_as(batch))
    gains_db = 20 * torch.log10(batch[:, 0] / value)
    assert gains_db.abs().max() < 6.1
    assert gains_db.std() > 1


def test_a_step_gives_the_same_crops_again_and_another_step_others(speech: Path) -> None:
    crops = crops_of(speech, 0.5)
    assert torch.equal(crops.batch(3), crops_of(speech, 0.5).batch(3))
    assert not torch.equal(crops.batch(3), crops.batch(4))


def test_some_crops_play_faster_and_some_slower(tmp_path: Path) -> None:
    for voice in ("slt", "june-fr"):
        (tmp_path / voice).mkdir()
        for number in range(2):
            ramp = np.linspace(0, 0.4, 4000, dtype=np.float32)
            clip = Waveform(samples=ramp, sample_rate_hz=16000)
            write_flac(tmp_path / voice / f"{number}.flac", clip, comment="test")
    crops = crops_of(tmp_path, 0.5)
    clean = crops._crop(np.random.default_rng(0))
    assert clean.shape == (300,)
    rises = [np.ptp(crops._crop(np.random.default_rng(i))) / 300 for i in range(60)]
    usual = 0.4 * 32767 / 4000
    assert min(rises) < 0.9 * usual
    assert max(rises) > 1.1 * usual
    assert sum(abs(rise / usual - 1) < 0.02 for rise in rises) > 15
