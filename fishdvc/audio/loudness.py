"""Integrated loudness (ITU-R BS.1770-4) and the gain that brings a waveform to a target.

Knows samples only. Starts without torch.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyloudnorm

from fishdvc.errors import AudioError

GATING_BLOCK_S = 0.4
"""Length of a gating block, ITU-R BS.1770-4, annex 1."""
REFERENCE_PEAK_DBFS = -1.0
"""The peak a waveform is brought to before it is measured, as the reference implementation does:
it makes the measurement independent of the recording level, which the absolute gate is not."""


@dataclass(frozen=True, kw_only=True)
class LoudnessGain:
    """A gain and what led to it.

    Attributes:
        gain: Linear factor for every sample.
        loudness_lufs: Loudness of the waveform as it was recorded.
        limited_by_peak: Whether the peak ceiling kept the gain below what the target asks for.
    """

    gain: float
    loudness_lufs: float
    limited_by_peak: bool


def integrated_loudness_lufs(samples: npt.NDArray[np.floating], sample_rate_hz: int) -> float:
    """Measure mono samples by ITU-R BS.1770-4.

    A clip shorter than one gating block of 0.4 s is measured as one block of its own length.

    Args:
        samples: Shape ``(samples,)``, full scale at -1 and 1.
        sample_rate_hz: Samples a second.

    Returns:
        LUFS; minus infinity where every block is below the absolute gate of -70 LUFS.
    """
    # The largest number below the quotient: pyloudnorm refuses a block that, multiplied by the rate
    # again, rounds to more samples than there are.
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
    """Find the gain to a target loudness that keeps every sample at or under a ceiling.

    Args:
        samples: Shape ``(samples,)``, full scale at -1 and 1.
        sample_rate_hz: Samples a second.
        target_loudness_lufs: Integrated loudness asked for.
        peak_ceiling_dbfs: No sample may be larger; where the target asks for more, it is missed.
        silence_threshold_dbfs: A waveform with no sample above this is silence.

    Raises:
        AudioError: The waveform is silence: no gain makes speech of it.
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
            "silence: nothing in it can be heard, for it is all under -70 LUFS; record it again, "
            "or remove it"
        )
    loudness_lufs = measured_lufs + peak_dbfs - REFERENCE_PEAK_DBFS
    gain_db = target_loudness_lufs - loudness_lufs
    ceiling_gain_db = peak_ceiling_dbfs - peak_dbfs
    return LoudnessGain(
        gain=10 ** (min(gain_db, ceiling_gain_db) / 20),
        loudness_lufs=loudness_lufs,
        limited_by_peak=gain_db > ceiling_gain_db,
    )
