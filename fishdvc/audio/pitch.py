"""Fundamental frequency of speech."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_F0_HZ = 60.0
MAX_F0_HZ = 500.0
HOP_S = 0.01
MAX_APERIODICITY = 0.15
"""Frames above it are unvoiced. De Cheveigné and Kawahara use thresholds from 0.1 to 0.15."""
QUIET_DB = 40.0
"""Frames that are quieter than the loudest frame by more than this are unvoiced: reverberation and
hum can be periodic."""
SILENCE_RMS = 1e-4
"""Frames below it, -80 dB of full scale, are unvoiced."""
FRAMES_AT_ONCE = 4096
"""Bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class PitchContour:
    """Fundamental frequency over time.

    Attributes:
        f0_hz: float64 ``(frames,)``, a frame every 10 ms, between 60 and 500 Hz. Only voiced frames
            have a meaning.
        voiced: bool ``(frames,)``.
    """

    f0_hz: NDArray[np.float64]
    voiced: NDArray[np.bool_]


def pitch_contour(samples: NDArray[np.float32], sample_rate_hz: int) -> PitchContour:
    """Estimate the fundamental frequency with YIN.

    YIN (de Cheveigné and Kawahara 2002, https://doi.org/10.1121/1.1458024) searches the lag at
    which a frame differs least from itself: the first minimum of the cumulative mean normalized
    difference (equation 8) below a threshold, refined by a parabola. Steps 1 to 5 of the paper.

    Args:
        samples: float32 ``(samples,)``, full scale at -1 and 1.
        sample_rate_hz: Sample rate of the samples, at least 4 times 500 Hz.

    Returns:
        One frame for each complete window of 1/30 s. No frames if the clip is shorter.
    """
    max_lag = int(np.ceil(sample_rate_hz / MIN_F0_HZ)) + 1
    min_lag = int(sample_rate_hz / MAX_F0_HZ)
    hop = round(sample_rate_hz * HOP_S)
    if len(samples) < 2 * max_lag:
        return PitchContour(f0_hz=np.zeros(0), voiced=np.zeros(0, dtype=bool))
    frames = np.lib.stride_tricks.sliding_window_view(samples, 2 * max_lag)[::hop]
    parts = [
        _lags(frames[i : i + FRAMES_AT_ONCE].astype(np.float64), min_lag, max_lag)
        for i in range(0, len(frames), FRAMES_AT_ONCE)
    ]
    lags, aperiodicity = (np.concatenate(values) for values in zip(*parts, strict=True))
    rms = np.sqrt(np.square(frames).mean(axis=1))
    loud = rms > max(SILENCE_RMS, rms.max() * 10 ** (-QUIET_DB / 20))
    return PitchContour(
        f0_hz=sample_rate_hz / lags, voiced=(aperiodicity < MAX_APERIODICITY) & loud
    )


def _lags(
    frames: NDArray[np.float64], min_lag: int, max_lag: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute each frame's period in samples and its aperiodicity."""
    difference = _normalized_difference(frames - frames.mean(axis=1, keepdims=True), max_lag)
    searched = difference[:, min_lag:max_lag]
    below = searched < MAX_APERIODICITY
    rises = np.append(searched[:, 1:] >= searched[:, :-1], np.ones((len(frames), 1), bool), axis=1)
    first_dip = (below & rises).argmax(axis=1)
    best = np.where(below.any(axis=1), first_dip, searched.argmin(axis=1)) + min_lag
    rows = np.arange(len(frames))
    before, at, after = (difference[rows, best + shift] for shift in (-1, 0, 1))
    curvature = before - 2 * at + after
    # Within half a sample, or the parabola's minimum is not near this lag.
    shift = np.divide(before - after, 2 * curvature, out=np.zeros_like(at), where=curvature > 1e-12)
    return best + shift.clip(-0.5, 0.5), at


def _normalized_difference(frames: NDArray[np.float64], max_lag: int) -> NDArray[np.float64]:
    """Compare the first half of each frame with what follows after each lag, 0 to ``max_lag``."""
    half = frames[:, :max_lag]
    size = 2 ** int(np.ceil(np.log2(frames.shape[1] + max_lag)))
    spectrum = np.fft.rfft(frames, size) * np.fft.rfft(half, size).conj()
    correlation = np.fft.irfft(spectrum, size)[:, : max_lag + 1]
    energy = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    energies = energy[:, max_lag:] - energy[:, : energy.shape[1] - max_lag]
    difference = np.maximum(energies[:, :1] + energies - 2 * correlation, 0)[:, 1:]
    mean = np.cumsum(difference, axis=1) / np.arange(1, max_lag + 1)
    normalized = np.divide(difference, mean, out=np.ones_like(mean), where=mean > 1e-12)
    return np.pad(normalized, ((0, 0), (1, 0)), constant_values=1)
