"""Mix channels to mono."""

import numpy as np
import numpy.typing as npt

CANCELLATION = 0.5
"""Channels cancel if the energy of their mean is below this share of what it is for independent
channels. For two channels that is a correlation below about -0.5."""
NUM_PARTS = 100
"""Number of parts of a clip whose levels are compared."""


def downmix(channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean of the channels, or the best channel if they cancel.

    Channels cancel if one is inverted, for example by a wrongly wired cable. Their mean is then
    mostly noise. The best channel is the one with the highest level relative to its pauses, or the
    first one of those that are within 3 dB of it.

    Args:
        channels: ``(samples, channels)``, at least one of each.

    Returns:
        Shape ``(samples,)``.
    """
    mono: npt.NDArray[np.float32] = channels.mean(axis=1, dtype=np.float32)
    num_channels = channels.shape[1]
    if num_channels == 1:
        return mono
    energies = np.square(channels, dtype=np.float64).mean(axis=0)
    energy = np.square(mono, dtype=np.float64).mean()
    if energy >= CANCELLATION * energies.mean() / num_channels:
        return mono
    part = max(1, len(channels) // NUM_PARTS)
    parts = channels[: len(channels) // part * part].reshape(-1, part, num_channels)
    pauses = np.percentile(np.square(parts).mean(axis=1), 10, axis=0)
    contrasts = energies / (pauses + 1e-6 * energies + np.finfo(np.float64).tiny)
    return channels[:, np.argmax(contrasts >= contrasts.max() / 2)]
