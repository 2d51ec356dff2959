"""F0 contours of synthetic signals with a known fundamental frequency."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fishdvc.audio.pitch import HOP_S, pitch_contour

RATE_HZ = 16000
TIME_S = np.arange(RATE_HZ) / RATE_HZ


def harmonics(f0_hz: NDArray[np.float64] | float, numbers: range) -> NDArray[np.float32]:
    """A second of harmonics of the same amplitude."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0_hz, TIME_S.shape)) / RATE_HZ
    return (0.1 * sum(np.cos(k * phase + k) for k in numbers)).astype(np.float32)


@pytest.mark.parametrize("f0_hz", [65.0, 110.0, 207.7, 330.0, 480.0])
@pytest.mark.parametrize("numbers", [range(1, 2), range(1, 8)], ids=["sine", "harmonics"])
def test_constant_f0_is_found_to_half_a_percent(f0_hz: float, numbers: range) -> None:
    contour = pitch_contour(harmonics(f0_hz, numbers), RATE_HZ)
    assert contour.voiced.all()
    np.testing.assert_allclose(contour.f0_hz, f0_hz, rtol=0.005)


def test_missing_fundamental_is_found() -> None:
    contour = pitch_contour(harmonics(150.0, range(2, 9)), RATE_HZ)
    assert contour.voiced.all()
    np.testing.assert_allclose(contour.f0_hz, 150.0, rtol=0.005)


def test_glide_is_followed() -> None:
    glide = 100 * 2**TIME_S
    contour = pitch_contour(harmonics(glide, range(1, 6)), RATE_HZ)
    window_s = 2 * (np.ceil(RATE_HZ / 60) + 1) / RATE_HZ
    centers_s = np.arange(len(contour.f0_hz)) * HOP_S + window_s / 2
    assert contour.voiced.all()
    np.testing.assert_allclose(contour.f0_hz, 100 * 2**centers_s, rtol=0.02)


def test_level_does_not_change_f0() -> None:
    tone = harmonics(120.0, range(1, 5))
    loud, soft = pitch_contour(tone, RATE_HZ), pitch_contour(tone * np.float32(0.01), RATE_HZ)
    np.testing.assert_allclose(loud.f0_hz, soft.f0_hz, rtol=1e-4)
    np.testing.assert_array_equal(loud.voiced, soft.voiced)


def test_noise_is_unvoiced() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)
    assert pitch_contour(noise, RATE_HZ).voiced.mean() < 0.01


def test_silence_and_a_constant_are_unvoiced() -> None:
    for value in (0.0, 0.5):
        assert not pitch_contour(np.full(RATE_HZ, value, np.float32), RATE_HZ).voiced.any()


def test_hum_far_below_the_speech_is_unvoiced() -> None:
    tone, hum = harmonics(120.0, range(1, 5)), harmonics(100.0, range(1, 3)) * np.float32(0.003)
    contour = pitch_contour(np.concatenate([tone, hum]), RATE_HZ)
    middle = len(contour.voiced) // 2
    assert contour.voiced[: middle - 5].all()
    assert not contour.voiced[middle + 5 :].any()


def test_clip_shorter_than_a_window_has_no_frames() -> None:
    assert len(pitch_contour(np.zeros(100, np.float32), RATE_HZ).f0_hz) == 0
