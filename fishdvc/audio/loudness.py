"""Integrated loudness (ITU-R BS.1770-4) and the gain to a target loudness."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyloudnorm

from fishdvc.errors import AudioError

GATING_BLOCK_S = 0.4
"""Length of a gating block (ITU-R BS.1770-4, annex 1)."""
REFERENCE_PEAK_DBFS = -1.0
"""Waveforms are scaled to this peak before they are measured, as in the reference implementation.
Otherwise the absolute gate would make the measurement depend on the recording level."""


@dataclass(frozen=True, kw_only=True)
class LoudnessGain:
    """A gain.

    Attributes:
        gain: Linear factor for every sample.
        limited_by_peak: Whether the peak ceiling keeps the loudness below the target.
    """

    gain: float
    limited_by_peak: bool


def integrated_loudness_lufs(samples: npt.NDArray[np.floating], sample_rate_hz: int) -> float:
    """Measure the integrated loudness of mono samples (ITU-R BS.1770-4).

    A clip shorter than one gating block of 0.4 s is measured as one block of its own length.

    Args:
        samples: Shape ``(samples,)``, full scale at -1 and 1.
        sample_rate_hz: Samples per second.

    Returns:
        LUFS, or minus infinity if every block is below the absolute gate of -70 LUFS.
    """
    # The next number below the duration, because pyloudnorm rejects a block whose number of
    # samples is rounded up to more than the clip has.
    block_s = min(GATING_BLOCK_S, math.nextafter(len(samples) / sample_rate_hz, 0))
    meter = pyloudnorm.Meter(sample_rate_hz, block_size=block_s)
    with np.errstate(divide="ignore"):
        return float(meter.integrated_loudness(samples.astype(np.float64)))


def loudness_gain(
    samples: npt.NDArray[np.floating],
    sample_rate_hz: int,
    *,
    target_loudness_lufs: float,
    peak_ceiling_dbfs: float,
    silence_threshold_dbfs: float,
) -> LoudnessGain:
    """Compute the gain to a target loudness, limited by a peak ceiling.

    Args:
        samples: Shape ``(samples,)``, full scale at -1 and 1.
        sample_rate_hz: Samples per second.
        target_loudness_lufs: Integrated loudness after the gain, unless the ceiling limits it.
        peak_ceiling_dbfs: Maximum absolute sample value after the gain.
        silence_threshold_dbfs: A waveform whose peak is lower is silence.

    Raises:
        AudioError: The waveform is silence.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    peak_dbfs = 20 * math.log10(peak) if peak > 0 else -math.inf
    if peak_dbfs < silence_threshold_dbfs:
        raise AudioError(
            f"silence: its peak is {peak_dbfs:.1f} dBFS, under {silence_threshold_dbfs:g}; "
            "record it again, or remove it"
        )
    to_reference = 10 ** ((REFERENCE_PEAK_DBFS - peak_dbfs) / 20)
    measured_lufs = integrated_loudness_lufs(samples * to_reference, sample_rate_hz)
    if math.isinf(measured_lufs):
        raise AudioError(
            "silence: its loudness is under -70 LUFS everywhere; record it again, or remove it"
        )
    gain_db = target_loudness_lufs - (measured_lufs + peak_dbfs - REFERENCE_PEAK_DBFS)
    ceiling_gain_db = peak_ceiling_dbfs - peak_dbfs
    return LoudnessGain(
        gain=10 ** (min(gain_db, ceiling_gain_db) / 20),
        limited_by_peak=gain_db > ceiling_gain_db,
    )
