"""Random frequency responses: other rooms, microphones and lines."""

import numpy as np
from numpy.typing import NDArray

BANDS_HZ = (60, 150, 400, 1000, 2500, 5000, 8000)
MAX_GAIN_DB = 6.0
MAX_PEAK = 0.95


def equalized(
    samples: NDArray[np.float32], sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Apply random gains at a few frequencies. Between them, the gain in dB is interpolated.

    Args:
        samples: ``(samples,)`` from -1 to 1.
        sample_rate_hz: Their rate.
        rng: Source of the gains.

    Returns:
        The same shape, with a peak of at most ``MAX_PEAK``.
    """
    gains_db = rng.uniform(-MAX_GAIN_DB, MAX_GAIN_DB, len(BANDS_HZ))
    frequencies = np.maximum(np.fft.rfftfreq(len(samples), 1 / sample_rate_hz), 1)
    response = 10 ** (np.interp(np.log(frequencies), np.log(BANDS_HZ), gains_db) / 20)
    filtered = np.fft.irfft(np.fft.rfft(samples) * response, len(samples)).astype(np.float32)
    peak = np.abs(filtered).max(initial=MAX_PEAK)
    louder: NDArray[np.float32] = filtered * np.float32(MAX_PEAK / peak)
    return louder
