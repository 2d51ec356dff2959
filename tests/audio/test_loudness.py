import math

import numpy as np
import numpy.typing as npt
import pytest

from fishdvc.audio.loudness import integrated_loudness_lufs, loudness_gain
from fishdvc.errors import AudioError

Samples = npt.NDArray[np.float32]


def sine(seconds: float, *, rate_hz: int = 48000, hz: float = 997.0, peak: float = 1.0) -> Samples:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16000, 22050, 44100, 48000])
def test_a_full_scale_sine_of_997_hz_has_minus_3_01_lufs(rate_hz: int) -> None:
    samples = sine(5, rate_hz=rate_hz)
    assert integrated_loudness_lufs(samples, rate_hz) == pytest.approx(-3.01, abs=0.1)


def test_a_short_clip_is_measured_as_one_block() -> None:
    assert integrated_loudness_lufs(sine(0.1), 48000) == pytest.approx(-3.01, abs=0.5)


def test_every_length_under_one_block_can_be_measured() -> None:
    rng = np.random.default_rng(0)
    for rate_hz in (8000, 11025, 16000, 22050, 24000, 44100, 48000):
        for length in rng.integers(1, round(0.41 * rate_hz), 100):
            samples = rng.uniform(-1, 1, length).astype(np.float32)
            assert not math.isnan(integrated_loudness_lufs(samples, rate_hz)), (length, rate_hz)


def gain_of(samples: Samples) -> float:
    return loudness_gain(
        samples,
        48000,
        target_loudness_lufs=-23.0,
        peak_ceiling_dbfs=-1.0,
        silence_threshold_dbfs=-60.0,
    ).gain


@pytest.mark.parametrize("peak", [0.01, 0.1, 1.0])
def test_the_gain_brings_a_clip_to_the_target(peak: float) -> None:
    samples = sine(3, peak=peak)
    loudness = integrated_loudness_lufs(samples * np.float32(gain_of(samples)), 48000)
    assert loudness == pytest.approx(-23.0, abs=0.05)


def test_the_recording_level_does_not_matter() -> None:
    # Unscaled, two thirds of the quiet clip would be below the absolute gate.
    samples = np.concatenate([sine(2, peak=0.9), sine(4, peak=0.05)])
    quiet = samples / 500
    assert gain_of(quiet) == pytest.approx(500 * gain_of(samples), rel=1e-4)


def test_no_peak_exceeds_the_ceiling() -> None:
    rng = np.random.default_rng(1)
    num_limited = 0
    for _ in range(60):
        rate_hz = int(rng.choice([8000, 22050, 44100]))
        length = int(rng.integers(50, 2 * rate_hz))
        samples = rng.normal(0, 1, length) * 10 ** rng.uniform(-2, 0)
        # A click in a quiet clip: the gain to the target exceeds the ceiling.
        samples[rng.integers(length)] += rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 2)
        samples = samples.astype(np.float32)
        ceiling_dbfs = float(rng.uniform(-12, 0))
        change = loudness_gain(
            samples,
            rate_hz,
            target_loudness_lufs=float(rng.uniform(-30, -5)),
            peak_ceiling_dbfs=ceiling_dbfs,
            silence_threshold_dbfs=-60,
        )
        peak = np.abs(samples * np.float32(change.gain)).max()
        assert peak <= 10 ** (ceiling_dbfs / 20) * (1 + 1e-6)
        num_limited += change.limited_by_peak
    assert 10 < num_limited < 60


@pytest.mark.parametrize(
    "samples", [np.zeros(0, np.float32), np.zeros(48000, np.float32), sine(1, peak=9.9e-4)]
)
def test_silence_is_rejected(samples: Samples) -> None:
    with pytest.raises(AudioError, match=r"^silence: its peak is .* under -60; record it again"):
        gain_of(samples)


def test_an_inaudible_frequency_is_rejected() -> None:
    with pytest.raises(AudioError, match="silence: its loudness is under -70 LUFS everywhere"):
        gain_of(sine(20, hz=0.25, peak=0.3))
