"""Sounds and spectrograms of the listening page."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from fishdvc.evaluation.page.spectrogram import SIZE, write_spectrogram
from fishdvc.evaluation.players import write_media
from tests.evaluation.speech import buzz, utterance

RATE_HZ = 44_100


def tone(frequency_hz: float, *, duration_s: float = 1.0) -> NDArray[np.float32]:
    """A tone."""
    time = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def brightness(path: Path) -> NDArray[np.uint16]:
    """Sum of the channels of each pixel, ``(height, width)``."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.uint16).sum(axis=2)


def test_a_sound_is_a_small_mp3(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    write_media(path, utterance(buzz(440, 1)))
    assert soundfile.info(path).format == "MP3"
    assert path.stat().st_size < 20_000


def test_time_runs_to_the_right_and_frequency_upwards(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_spectrogram(path, np.concatenate([tone(200), tone(4000)]), RATE_HZ)
    pixels = brightness(path)
    assert pixels.shape == SIZE[::-1]
    quarter, three_quarters = SIZE[0] // 4, 3 * SIZE[0] // 4
    low, high = pixels[:, quarter].argmax(), pixels[:, three_quarters].argmax()
    assert low > 0.9 * SIZE[1]
    assert 0.2 * SIZE[1] < high < 0.5 * SIZE[1]


@pytest.mark.parametrize("duration_s", [0.0, 0.01, 30.0])
@pytest.mark.parametrize("rate_hz", [8000, 44_100, 48_000])
def test_clips_of_any_length_have_a_picture_of_the_same_size(
    duration_s: float, rate_hz: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    write_spectrogram(path, np.zeros(int(duration_s * rate_hz), np.float32), rate_hz)
    pixels = brightness(path)
    assert pixels.shape == SIZE[::-1]
    assert pixels.max() < 200, "silence is dark"


def test_the_same_sound_has_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for path in (first, second):
        write_spectrogram(path, tone(440), RATE_HZ)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 20_000
