"""Phones of a clip with their times, and their shares of each frame.

The speakers compute the duration of each phone, so the times cost nothing. They are written beside
the clip in ``<clip>.phones``, one phone per line: start and end in seconds and its symbol.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SILENCE = "_"
PHONES = SILENCE + "AIOQTWYabdefhijklmnpstuvwzæðŋɐɑɒɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻ"
"""Symbols of the speakers' models for English. The position of a symbol is its class."""
STRESS_MARKS = "ˈˌ"
LENGTH_MARK = "ː"
PAUSES = '_.,!?;:—…"()“”'

LABELS_PER_FRAME = 2
"""Labels in a frame of codes, which often has two phones."""

Labels = NDArray[np.float32]


class Phone(NamedTuple):
    """A phone in a clip."""

    start_s: float
    end_s: float
    symbol: str
    """One of ``PHONES``."""


def timed_phones(symbols: Iterable[str], durations_s: Iterable[float]) -> list[Phone]:
    """Place symbols of a speaker's model one after the other.

    The time of a stress mark belongs to the phone after it, that of a length mark to the phone
    before it. A space between words and an unknown symbol leave a gap, because their time may be
    silence or part of a phone.

    Args:
        symbols: Symbols of the model, with marks and punctuation.
        durations_s: The duration of each.
    """
    phones: list[Phone] = []
    end_s = 0.0
    mark_start_s = None
    for symbol, duration_s in zip(symbols, durations_s, strict=True):
        start_s, end_s = end_s, end_s + duration_s
        if symbol in STRESS_MARKS:
            mark_start_s = start_s if mark_start_s is None else mark_start_s
            continue
        if symbol == LENGTH_MARK and phones:
            phones[-1] = phones[-1]._replace(end_s=end_s)
            continue
        symbol = SILENCE if symbol in PAUSES else symbol
        if symbol in PHONES:
            phones.append(Phone(start_s if mark_start_s is None else mark_start_s, end_s, symbol))
        mark_start_s = None
    return phones


def write_phones(path: Path, phones: Iterable[Phone]) -> None:
    """Write one line per phone."""
    lines = (f"{phone.start_s:.4f}\t{phone.end_s:.4f}\t{phone.symbol}\n" for phone in phones)
    path.write_text("".join(lines), encoding="utf-8")


def read_phones(path: Path) -> list[Phone]:
    """Read what ``write_phones`` wrote."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [Phone(float(start_s), float(end_s), symbol) for start_s, end_s, symbol in rows]


def frame_labels(phones: Iterable[Phone], num_frames: int, *, frame_length_s: float) -> Labels:
    """Compute the share of each phone in each frame.

    Returns:
        ``(num_frames, len(PHONES))``. The sum of a frame is below 1 where the phone is not known.
    """
    labels = np.zeros((num_frames, len(PHONES)), np.float32)
    frames = np.arange(num_frames)
    for phone in phones:
        start, end = phone.start_s / frame_length_s, phone.end_s / frame_length_s
        overlap = np.minimum(end, frames + 1) - np.maximum(start, frames)
        labels[:, PHONES.index(phone.symbol)] += np.maximum(overlap, 0)
    return labels


def means_between(rows: Labels, edges: NDArray[np.float64]) -> Labels:
    """Average rows of equal duration between edges.

    Args:
        rows: ``(num_rows, channels)``. Row ``i`` lasts from ``i`` to ``i + 1``.
        edges: Increasing times ``(num_means + 1,)``. Before the first row and after the last one,
            all values are 0.

    Returns:
        ``(num_means, channels)``.
    """
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=float)])
    times = np.clip(edges, 0, len(rows))
    before = np.minimum(times.astype(int), len(rows) - 1)
    integrals = sums[before] + (times - before)[:, None] * rows[before]
    means: Labels = (np.diff(integrals, axis=0) / np.diff(edges)[:, None]).astype(np.float32)
    return means
