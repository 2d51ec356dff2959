"""Measure what in a recording may harm training: levels, silence, clipping, bandwidth."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishdvc.audio.loudness import loudness_gain
from fishdvc.audio.waveform import Waveform

Floats = NDArray[np.float64]

WINDOW_S = 0.046
"""Length of an analysis window, rounded to a power of two of samples. Windows overlap by half."""
WINDOWS_PER_BLOCK = 512
"""Windows that are transformed at once, so that the memory for them is bounded."""
SILENCE_BELOW_LOUDNESS_DB = 35.0
"""A window is silence if its level is this far below the loudness of the clip."""
CLIPPED_RUN = 3
"""A sample is clipped if it is one of this many neighbours at the highest level."""
CLIPPED_WITHIN = 2**-14
"""Neighbours are at the highest level within two steps of 16 bits."""
BANDWIDTH_BELOW_PEAK_DB = 60.0
"""The bandwidth ends where the mean spectrum stays this far below its maximum."""
SMOOTHING_HZ = 200.0
"""Width of the moving average over the spectrum."""
FINGERPRINT_BANDS_HZ = np.geomspace(200, 3400, 17)
"""Edges of the bands of a fingerprint, which a telephone transmits too."""
FINGERPRINT_PARTS = 16
FINGERPRINT_ENERGIES = (0.01, 0.99)
"""A fingerprint is that of the time between these shares of the energy in its bands. Silence and
noise at the ends do not change it."""
FINGERPRINT_RANGE_DB = 40.0
"""Levels are cut off this far below the highest one, so that noise in pauses does not count."""


@dataclass(frozen=True, kw_only=True)
class AudioMeasures:
    """Measures of one recording.

    Attributes:
        sample_rate_hz: Sample rate of the file.
        duration_s: Length in seconds.
        loudness_lufs: Integrated loudness (ITU-R BS.1770-4).
        peak_dbfs: Level of the highest sample.
        clipped_share: Share of the samples that are clipped, from 0 to 1.
        bandwidth_hz: Highest frequency that the speech reaches, at most half the sample rate.
        start_silence_s: Silence before the first sound.
        end_silence_s: Silence after the last sound.
        longest_pause_s: Longest silence between two sounds.
        fingerprint: Levels of 16 bands in 16 parts of the speech, in whole dB from 0 to 40. See
            ``fingerprint_distances_db``.
    """

    sample_rate_hz: int
    duration_s: float
    loudness_lufs: float
    peak_dbfs: float
    clipped_share: float
    bandwidth_hz: float
    start_silence_s: float
    end_silence_s: float
    longest_pause_s: float
    fingerprint: tuple[int, ...]

    @property
    def sound_s(self) -> float:
        """Time from the first sound to the last one, in seconds."""
        return self.duration_s - self.start_silence_s - self.end_silence_s


def measure_audio(recorded: Waveform, *, silence_threshold_dbfs: float) -> AudioMeasures:
    """Measure a recording.

    Args:
        recorded: The recording, not normalized.
        silence_threshold_dbfs: A recording whose peak is lower is silence.

    Raises:
        AudioError: The recording is silence.
    """
    samples, rate_hz = recorded.samples, recorded.sample_rate_hz
    # The gain to 0 LUFS is the loudness, measured as the stage normalize does.
    to_zero = loudness_gain(
        samples,
        rate_hz,
        target_loudness_lufs=0.0,
        peak_ceiling_dbfs=math.inf,
        silence_threshold_dbfs=silence_threshold_dbfs,
    )
    loudness_lufs = -20 * math.log10(to_zero.gain)
    peak = float(np.abs(samples).max())
    levels_db, spectrum, bands, step_s = _analyze(samples, rate_hz)
    (sounds,) = np.nonzero(levels_db > loudness_lufs - SILENCE_BELOW_LOUDNESS_DB)
    first, last = (int(sounds[0]), int(sounds[-1])) if len(sounds) else (0, len(levels_db) - 1)
    longest = int(np.diff(sounds).max(initial=1)) - 1
    return AudioMeasures(
        sample_rate_hz=rate_hz,
        duration_s=recorded.duration_s,
        loudness_lufs=loudness_lufs,
        peak_dbfs=20 * math.log10(peak),
        clipped_share=_clipped_share(samples, peak),
        bandwidth_hz=_bandwidth_hz(spectrum, rate_hz),
        start_silence_s=first * step_s,
        end_silence_s=(len(levels_db) - 1 - last) * step_s,
        longest_pause_s=longest * step_s,
        fingerprint=_fingerprint(bands),
    )


def fingerprint_distances_db(one: Floats, others: Floats) -> Floats:
    """Compare fingerprints, at any gain.

    Copies of a recording in other formats differ by up to about 2 dB, other clips by more than 3.

    Args:
        one: Fingerprint ``(256,)``.
        others: Fingerprints ``(clips, 256)``.

    Returns:
        Standard deviation of the difference in dB, ``(clips,)``.
    """
    distances: Floats = np.std(others - one, axis=1)
    return distances


def _analyze(samples: NDArray[np.float32], rate_hz: int) -> tuple[Floats, Floats, Floats, float]:
    """Return the level of each window in dBFS, the mean spectrum, bands and the window's step.

    Bands are powers ``(windows, 16)``, and the spectrum is powers ``(bins,)``.
    """
    length = 1 << round(math.log2(rate_hz * WINDOW_S))
    step = length // 2
    padded = np.pad(samples, (0, max(0, length - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::step]
    taper = np.hanning(length)
    edges = np.round(FINGERPRINT_BANDS_HZ * length / rate_hz).astype(int)
    levels, bands, spectrum = [], [], np.zeros(length // 2 + 1)
    for start in range(0, len(windows), WINDOWS_PER_BLOCK):
        block = windows[start : start + WINDOWS_PER_BLOCK]
        powers = np.square(np.abs(np.fft.rfft(block * taper)))
        levels.append(2 * powers.sum(axis=1) / (length * np.square(taper).sum()))
        bands.append(np.add.reduceat(powers, edges, axis=1)[:, :-1])
        spectrum += powers.sum(axis=0)
    levels_db = 10 * np.log10(np.concatenate(levels) + np.finfo(np.float64).tiny)
    return levels_db, spectrum / len(windows), np.concatenate(bands), step / rate_hz


def _clipped_share(samples: NDArray[np.float32], peak: float) -> float:
    """Count runs at the highest level, which is at most full scale: MP3 files may exceed it."""
    at_top = np.abs(samples) >= min(peak, 1.0) - CLIPPED_WITHIN
    changes = np.flatnonzero(np.diff(at_top, prepend=False, append=False))
    runs = changes[1::2] - changes[::2]
    return float(runs[runs >= CLIPPED_RUN].sum() / len(samples))


def _bandwidth_hz(spectrum: Floats, rate_hz: int) -> float:
    bin_hz = rate_hz / 2 / (len(spectrum) - 1)
    width = max(1, round(SMOOTHING_HZ / bin_hz))
    smooth = np.convolve(spectrum, np.ones(width) / width, mode="same")
    (above,) = np.nonzero(smooth > smooth.max() * 10 ** (-BANDWIDTH_BELOW_PEAK_DB / 10))
    return float(above[-1] * bin_hz)


def _fingerprint(bands: Floats) -> tuple[int, ...]:
    """Average powers ``(windows, 16)`` over 16 parts of equal, also fractional, length."""
    totals = np.concatenate([np.zeros((1, bands.shape[1])), np.cumsum(bands, axis=0)])
    whole = np.arange(len(totals))
    energy = totals.sum(axis=1)
    start, end = np.interp(energy[-1] * np.array(FINGERPRINT_ENERGIES), energy, whole)
    edges = np.linspace(start, end, FINGERPRINT_PARTS + 1)
    parts = np.diff([np.interp(edges, whole, band) for band in totals.T])
    levels_db = 10 * np.log10(parts + np.finfo(np.float64).tiny)
    above_db = np.maximum(levels_db - levels_db.max() + FINGERPRINT_RANGE_DB, 0)
    return tuple(above_db.round().astype(int).ravel().tolist())
