"""Speech is written in the format of the suffix."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.audio.export import writable_suffixes, write_speech
from fishdvc.audio.waveform import Waveform

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3"}


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("suffix", writable_suffixes())
def test_written_samples_are_read_back(suffix: str, rate_hz: int, tmp_path: Path) -> None:
    samples = 0.5 * np.sin(np.arange(rate_hz) * 2 * np.pi * 440 / rate_hz, dtype=np.float32)
    path = tmp_path / "a.partial"
    write_speech(path, Waveform(samples=samples, sample_rate_hz=rate_hz), suffix=suffix)
    with soundfile.SoundFile(path) as file:
        assert (file.format, file.samplerate, file.channels) == (FORMATS[suffix], rate_hz, 1)
        read = file.read(dtype="float32")
    if suffix == ".mp3":
        assert len(read) >= rate_hz
        assert np.abs(read).max() == pytest.approx(0.5, abs=0.1)
    else:
        np.testing.assert_allclose(read, samples, rtol=0, atol=2**-15)


def test_samples_beyond_full_scale_are_clipped_not_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    loud = np.array([1.5, -1.5], np.float32)
    write_speech(path, Waveform(samples=loud, sample_rate_hz=16_000), suffix=".wav")
    np.testing.assert_allclose(soundfile.read(path)[0], [1, -1], atol=1e-4)
