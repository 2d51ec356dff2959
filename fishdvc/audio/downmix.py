"""Mix channels to mono, and remove a large constant offset."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

CANCELLATION = 0.5
"""Channels cancel if the energy of their mean is below this share of what it is for independent
channels. For two channels that is a correlation below about -0.5."""
PARTS_PER_S = 10
CANCELLATION_OF_PART = 0.25
"""The same for a part of a clip, in which delays and echoes also cancel some frequencies."""
MIN_CANCELLED = 0.01
"""Channels also cancel if parts with more than this share of a clip's energy do."""
LAG_S = 0.0005
"""Energies are those of differences over this time, which are a high-pass filter: an offset or hum
that the channels share would hide that their speech cancels."""


def downmix(channels: Samples, sample_rate_hz: int) -> Samples:
    """Return the mean of the channels, or the best channel if they cancel in a part of the clip.

    Channels cancel if one is inverted, for example by a wrongly wired cable. Their mean is then
    mostly noise. The best channel is the one with the highest level relative to its pauses, or the
    first one of those that are within 3 dB of it. Echoes of a room can also make two microphones
    cancel. Taking one then loses no speech, because only channels of similar levels cancel.

    Args:
        channels: ``(samples, channels)``, at least one of each.
        sample_rate_hz: Samples per second.

    Returns:
        Shape ``(samples,)``.
    """
    mono: Samples = channels.mean(axis=1, dtype=np.float32)
    num_channels = channels.shape[1]
    if num_channels == 1:
        return mono
    energies = _energies(channels, sample_rate_hz)
    independent = energies.mean(axis=1) / num_channels
    mixed = _energies(mono[:, None], sample_rate_hz)[:, 0]
    cancelled = independent[mixed < CANCELLATION_OF_PART * independent].sum()
    total = independent.sum()
    if mixed.sum() >= CANCELLATION * total and cancelled <= MIN_CANCELLED * total:
        return mono
    levels = energies.mean(axis=0)
    pauses = np.percentile(energies, 10, axis=0)
    contrasts = levels / (pauses + 1e-6 * levels + np.finfo(np.float64).tiny)
    return channels[:, np.argmax(contrasts >= contrasts.max() / 2)]


def remove_offset(samples: Samples) -> Samples:
    """Subtract the mean if it is larger than the standard deviation.

    Such an offset is a fault of the recorder. It would count as sound, and the step at the start of
    the clip would count as loud. A smaller one changes the loudness by less than 0.01 dB and stays.

    Args:
        samples: Shape ``(samples,)``, at least one.
    """
    mean = samples.mean(dtype=np.float64)
    if abs(mean) <= samples.std(dtype=np.float64):
        return samples
    return samples - np.float32(mean)


def _energies(channels: Samples, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the mean energies in parts of equal length ``(parts, channels)``."""
    lag = max(1, round(LAG_S * sample_rate_hz))
    changes = channels[lag:] - channels[:-lag]
    num_parts = max(1, len(changes) * PARTS_PER_S // sample_rate_hz)
    part = len(changes) // num_parts
    parts = changes[: part * num_parts].reshape(num_parts, part, channels.shape[1])
    energies: npt.NDArray[np.float64] = np.square(parts, dtype=np.float64).sum(axis=1)
    return energies
