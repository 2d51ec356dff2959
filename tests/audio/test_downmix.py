"""Channels are averaged, unless they cancel."""

import numpy as np
import pytest

from fishdvc.audio.downmix import downmix, remove_offset

RNG = np.random.default_rng(0)
RATE_HZ = 16000
NUM_SAMPLES = RATE_HZ
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
    np.testing.assert_array_equal(downmix(channels, RATE_HZ), channels.mean(axis=1))


@pytest.mark.parametrize("noise", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_better_of_two_channels_that_cancel_is_taken(
    noise: float, gain: float, inverted: bool
) -> None:
    clean, noisy = gain * SPEECH, -SPEECH + noise * NOISE
    channels = [clean, noisy] if inverted else [noisy, clean]
    best = downmix(np.stack(channels, axis=1), RATE_HZ)
    expected = clean if noise else channels[0]
    np.testing.assert_array_equal(best, expected.astype(np.float32))


def test_a_dead_channel_beside_two_that_cancel_is_not_taken() -> None:
    channels = np.stack([0 * SPEECH, SPEECH, -SPEECH], axis=1)
    np.testing.assert_array_equal(downmix(channels, RATE_HZ), SPEECH)


def test_one_channel_and_short_clips_keep_their_samples() -> None:
    np.testing.assert_array_equal(downmix(SPEECH[:, None], RATE_HZ), SPEECH)
    for num_samples in (1, 5, 100):
        channels = np.full((num_samples, 2), [0.25, 0.75], np.float32)
        np.testing.assert_array_equal(downmix(channels, RATE_HZ), np.full(num_samples, 0.5))


@pytest.mark.parametrize("start", [0.0, 0.5, 0.8])
def test_a_channel_that_is_inverted_in_a_part_of_the_clip_is_found(start: float) -> None:
    inverted = np.where(np.arange(NUM_SAMPLES) < start * NUM_SAMPLES, SPEECH, -SPEECH)
    best = downmix(np.stack([SPEECH, inverted], axis=1), RATE_HZ)
    np.testing.assert_array_equal(best, SPEECH)


HUM = np.sin(2 * np.pi * 50 * np.arange(NUM_SAMPLES) / RATE_HZ)


@pytest.mark.parametrize("common", [np.full(NUM_SAMPLES, 0.3), 0.3 * HUM], ids=["offset", "hum"])
def test_what_both_channels_share_does_not_hide_that_they_cancel(common: np.ndarray) -> None:
    channels = np.stack([SPEECH + common, common - SPEECH], axis=1).astype(np.float32)
    np.testing.assert_array_equal(downmix(channels, RATE_HZ), channels[:, 0])
    channels = np.stack([SPEECH, common - SPEECH], axis=1).astype(np.float32)
    np.testing.assert_array_equal(downmix(channels, RATE_HZ), SPEECH)


def test_an_offset_larger_than_the_sound_is_removed() -> None:
    offset = np.float32(3 * SPEECH.std())
    np.testing.assert_allclose(
        remove_offset(SPEECH + offset), SPEECH - SPEECH.mean(), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(remove_offset(np.full(9, 0.5, np.float32)), np.zeros(9))
    ordinary = SPEECH + np.float32(0.5 * SPEECH.std())
    np.testing.assert_array_equal(remove_offset(ordinary), ordinary)
