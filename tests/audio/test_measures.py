"""Measures of recordings whose faults are known."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from fishdvc.audio.loudness import integrated_loudness_lufs
from fishdvc.audio.measures import AudioMeasures, fingerprint_distances_db, measure_audio
from fishdvc.audio.waveform import Waveform, read_waveform
from fishdvc.errors import AudioError

Samples = NDArray[np.float64]
RATE_HZ = 44_100


def speech(seed: int = 0, seconds: float = 2.0) -> Samples:
    """Syllables of noise and harmonics, each with its own spectrum."""
    rng = np.random.default_rng(seed)
    num_samples = round(0.2 * RATE_HZ)
    time_s = np.arange(num_samples) / RATE_HZ
    syllables = []
    for _ in range(round(seconds / 0.2)):
        levels = rng.uniform(0.02, 1, 20)
        pitch_hz = rng.uniform(100, 200)
        voice = sum(
            a * np.sin(2 * np.pi * pitch_hz * (k + 1) * time_s) for k, a in enumerate(levels)
        )
        syllables.append((voice + rng.normal(0, 0.3, num_samples)) * np.hanning(num_samples) ** 0.3)
    samples: Samples = np.concatenate(syllables)
    return 0.5 * samples / np.abs(samples).max()


def measures(samples: Samples, rate_hz: int = RATE_HZ) -> AudioMeasures:
    waveform = Waveform(samples=samples.astype(np.float32), sample_rate_hz=rate_hz)
    return measure_audio(waveform, silence_threshold_dbfs=-60)


def lowpass(samples: Samples, cutoff_hz: float) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE_HZ) > cutoff_hz] = 0
    return np.fft.irfft(spectrum, len(samples))


def test_loudness_and_peak_are_those_of_the_recording() -> None:
    samples = 0.1 * speech()
    measured = measures(samples)
    expected = integrated_loudness_lufs(samples, RATE_HZ)
    assert measured.loudness_lufs == pytest.approx(expected, abs=0.01)
    assert measured.peak_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.01)
    assert measured.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("gain_after", [1.0, 0.3])
def test_clipped_samples_are_counted_also_below_full_scale(gain_after: float) -> None:
    clean = speech()
    limit = np.quantile(np.abs(clean), 0.95)
    clipped = gain_after * np.clip(clean / limit, -1, 1)
    assert measures(clean).clipped_share == 0
    assert 0.02 < measures(clipped).clipped_share <= 0.05


def test_the_bandwidth_of_a_telephone_is_found_in_a_file_of_a_higher_rate() -> None:
    clean = speech()
    telephone = np.round(lowpass(clean, 3400) * 2**15) / 2**15
    assert measures(clean).bandwidth_hz > 20_000
    assert measures(telephone).bandwidth_hz == pytest.approx(3400, abs=150)


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_silence_is_measured_at_the_ends_and_inside(noise: float) -> None:
    parts = [np.zeros(round(s * RATE_HZ)) for s in (0.8, 1.5, 0.4)]
    samples = np.concatenate([parts[0], speech(1, 1.0), parts[1], speech(2, 1.0), parts[2]])
    measured = measures(samples + np.random.default_rng(0).normal(0, noise, len(samples)))
    assert measured.start_silence_s == pytest.approx(0.8, abs=0.05)
    assert measured.longest_pause_s == pytest.approx(1.5, abs=0.05)
    assert measured.end_silence_s == pytest.approx(0.4, abs=0.05)
    assert measures(speech()).longest_pause_s == 0


def test_a_recording_of_silence_is_an_error() -> None:
    with pytest.raises(AudioError, match="silence"):
        measures(1e-4 * speech())


def test_fingerprints_of_copies_are_similar_and_of_other_clips_are_not(tmp_path: Path) -> None:
    original = speech()
    soundfile.write(tmp_path / "copy.mp3", original, RATE_HZ)
    decoded = read_waveform(tmp_path / "copy.mp3").samples.astype(np.float64)
    padded = np.pad(0.1 * original, (20_000, 5_000))
    copies = [measures(samples).fingerprint for samples in (decoded, padded)]
    others = [measures(speech(seed)).fingerprint for seed in (1, 2, 3)]
    own = np.array(measures(original).fingerprint, dtype=float)
    assert fingerprint_distances_db(own, np.array(copies, dtype=float)).max() < 1.5
    assert fingerprint_distances_db(own, np.array(others, dtype=float)).min() > 4


def test_a_clip_shorter_than_a_window_is_measured() -> None:
    measured = measures(speech(seconds=0.2)[:1500])
    assert measured.start_silence_s == measured.end_silence_s == 0
    assert measured.sound_s == pytest.approx(1500 / RATE_HZ)
