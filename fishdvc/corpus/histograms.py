"""Histograms of the measures of clips."""

import math
from collections import Counter
from collections.abc import Sequence

from fishdvc.corpus.findings import Histogram
from fishdvc.corpus.measured import MeasuredClip
from fishdvc.corpus.numbers import round_step

MAX_BINS = 20
"""There may be one more, because the first and the last bin start and end at round numbers."""


def histograms(
    clips: Sequence[MeasuredClip], normalized_lufs: Sequence[float]
) -> tuple[Histogram, ...]:
    """Count clips by length, loudness, silence, sample rate, bandwidth and speaking rate.

    Args:
        clips: At least one.
        normalized_lufs: Loudness of each clip after the stage ``normalize``.
    """
    edges_s = [max(c.audio.start_silence_s, c.audio.end_silence_s) for c in clips]
    # Name, title, least width of a bin, values.
    measures: tuple[tuple[str, str, float, Sequence[float]], ...] = (
        ("duration_s", "Length (s)", 0.5, [c.audio.duration_s for c in clips]),
        ("loudness_lufs", "Loudness as recorded (LUFS)", 1, [c.audio.loudness_lufs for c in clips]),
        ("normalized_lufs", "Loudness normalized (LUFS)", 1, normalized_lufs),
        ("edge_silence_s", "Longest silence at an end (s)", 0.1, edges_s),
        ("pause_s", "Longest pause (s)", 0.1, [c.audio.longest_pause_s for c in clips]),
        ("sample_rate_hz", "Sample rate (Hz)", 1000, [c.audio.sample_rate_hz for c in clips]),
        ("bandwidth_hz", "Bandwidth (Hz)", 1000, [c.audio.bandwidth_hz for c in clips]),
        ("letters_per_s", "Speaking rate (letters/s)", 1, [c.letters_per_s for c in clips]),
    )
    return tuple(histogram(*measure) for measure in measures)


def histogram(name: str, title: str, min_width: float, values: Sequence[float]) -> Histogram:
    """Count values in bins of one width, whose edges are round numbers.

    Args:
        name: See ``Histogram``.
        title: See ``Histogram``.
        min_width: Least width of a bin: 1, 2 or 5 times a power of ten.
        values: At least one. A value at an edge belongs to the bin above it.
    """
    width = round_step(max(min_width, (max(values) - min(values)) / MAX_BINS))
    # A tolerance, because 0.3 / 0.1 is less than 3.
    counts = Counter(math.floor(value / width + 1e-9) for value in values)
    first, last = min(counts), max(counts)
    return Histogram(
        name=name,
        title=title,
        edges=tuple(round(i * width, 9) for i in range(first, last + 2)),
        counts=tuple(counts[i] for i in range(first, last + 1)),
    )
