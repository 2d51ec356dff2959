"""Histograms of the measures of clips."""

from collections.abc import Sequence

import numpy as np

from fishdvc.corpus.findings import Histogram
from fishdvc.corpus.measured import MeasuredClip

LUFS = (-60, -40, -36, -33, -30, -27, -24, -21, -18, -15, -12, -9)
SILENCE_S = (0, 0.1, 0.2, 0.5, 1, 2, 5)
# Common values are inside of the bins.
BANDWIDTH_HZ = (0, 3_000, 4_500, 6_000, 7_000, 9_000, 13_000, 17_000, 21_000, 25_000)
RATES_HZ = (0, 9_000, 12_000, 17_000, 23_000, 25_000, 33_000, 46_000, 50_000)
LENGTH_S = (0, 0.5, 1, 2, 3, 5, 8, 12, 16, 20, 30, 60)
LETTERS_PER_S = (0, 4, 8, 10, 12, 14, 16, 18, 20, 24, 30)


def histograms(
    clips: Sequence[MeasuredClip], normalized_lufs: Sequence[float]
) -> tuple[Histogram, ...]:
    """Count clips by length, loudness, silence, sample rate, bandwidth and speaking rate.

    Args:
        clips: At least one.
        normalized_lufs: Loudness of each clip after the stage ``normalize``.
    """
    audio = [clip.audio for clip in clips]
    edge_s = [max(a.start_silence_s, a.end_silence_s) for a in audio]
    lengths_s = [a.duration_s for a in audio]
    recorded_lufs = [a.loudness_lufs for a in audio]
    pauses_s = [a.longest_pause_s for a in audio]
    rates_hz = [float(a.sample_rate_hz) for a in audio]
    bandwidths_hz = [a.bandwidth_hz for a in audio]
    letters_per_s = [clip.letters_per_s for clip in clips]
    return (
        _histogram("duration_s", "Length (s)", LENGTH_S, lengths_s),
        _histogram("loudness_lufs", "Loudness as recorded (LUFS)", LUFS, recorded_lufs),
        _histogram("normalized_lufs", "Loudness normalized (LUFS)", LUFS, normalized_lufs),
        _histogram("edge_silence_s", "Longest silence at an end (s)", SILENCE_S, edge_s),
        _histogram("pause_s", "Longest pause (s)", SILENCE_S, pauses_s),
        _histogram("sample_rate_hz", "Sample rate (Hz)", RATES_HZ, rates_hz),
        _histogram("bandwidth_hz", "Bandwidth (Hz)", BANDWIDTH_HZ, bandwidths_hz),
        _histogram("letters_per_s", "Speaking rate (letters/s)", LETTERS_PER_S, letters_per_s),
    )


def _histogram(name: str, title: str, edges: Sequence[float], values: Sequence[float]) -> Histogram:
    """Count values. The outer edges move to the lowest and highest value; empty ends are cut."""
    bins = np.array(edges, dtype=float)
    bins[0] = min(bins[0], np.floor(min(values)))
    bins[-1] = max(bins[-1], np.ceil(max(values)))
    counts, _ = np.histogram(values, bins)
    (filled,) = np.nonzero(counts)
    first, last = filled[0], filled[-1] + 1
    return Histogram(
        name=name,
        title=title,
        edges=tuple(bins[first : last + 1].tolist()),
        counts=tuple(counts[first:last].tolist()),
    )
