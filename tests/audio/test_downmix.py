"""Channels are averaged, unless they cancel."""

import numpy as np
import pytest

from fishdvc.audio.downmix import downmix

RNG = np.random.default_rng(0)
NUM_SAMPLES = 16000
ENVELOPE = (np.sin(np.arange(NUM_SAMPLES) / 1000) > 0) * 0.3
SPEECH = (ENVELOPE * RNG.normal(size=NUM_SAMPLES)).astype(np.float32)
NOISE = (0.1 * RNG.normal(size=NUM_SAMPLES)).astype(np.float32)


@pytest.mark.parametrize(
    "other",
    [SPEECH, 0 * SPEECH, NOISE, SPEECH + NOISE, -0.1 * SPEECH, np.roll(SPEECH, 40)],
    ids=["same", "dead", "noise", "noisy", "quiet inverted", "delayed"],
)
def test_channels_that_do_not_cancel_are_averaged(other: np.ndarray) -> None:
    channels = np.stack([SPEECH, other], axis=1)
    np.testing.assert_array_equal(downmix(channels), channels.mean(axis=1))


@pytest.mark.parametrize("noise", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_better_of_two_channels_that_cancel_is_taken(
    noise: float, gain: float, inverted: bool
) -> None:
    clean, noisy = gain * SPEECH, -SPEECH + noise * NOISE
    channels = [clean, noisy] if inverted else [noisy, clean]
    best = downmix(np.stack(channels, axis=1))
    expected = clean if noise else channels[0]
    np.testing.assert_array_equal(best, expected.astype(np.float32))


def test_a_dead_channel_beside_two_that_cancel_is_not_taken() -> None:
    channels = np.stack([0 * SPEECH, SPEECH, -SPEECH], axis=1)
    np.testing.assert_array_equal(downmix(channels), SPEECH)


def test_one_channel_and_short_clips_keep_their_samples() -> None:
    np.testing.assert_array_equal(downmix(SPEECH[:, None]), SPEECH)
    np.testing.assert_array_equal(downmix(np.array([[0.5, -0.5]], np.float32)), [0.5])
    np.testing.assert_array_equal(downmix(np.zeros((5, 2), np.float32)), np.zeros(5))
