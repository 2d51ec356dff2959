"""Find clips that are copies of a recording, and transcripts that were recorded several times."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from fishdvc.audio.measures import fingerprint_distances_db
from fishdvc.corpus.measured import MeasuredClip

MAX_LENGTH_RATIO = 1.05
"""Copies of a recording have lengths, without silence at the ends, within this ratio."""
MIN_LETTERS = 20
"""Shorter transcripts, such as numbers and greetings, may be recorded several times on purpose."""


def find_near_copies(
    clips: Sequence[MeasuredClip], *, max_distance_db: float
) -> Iterator[tuple[MeasuredClip, MeasuredClip, float]]:
    """Yield pairs of clips with similar recordings, also in another format or at another gain.

    Of several copies of a recording, each is paired with one of them.

    Yields:
        Two clips and the distance of their fingerprints in dB, less than ``max_distance_db``.
    """
    by_length = sorted(clips, key=lambda clip: clip.audio.sound_s)
    lengths_s = np.array([clip.audio.sound_s for clip in by_length])
    prints = np.array([clip.audio.fingerprint for clip in by_length], dtype=np.float64)
    ends = np.searchsorted(lengths_s, lengths_s * MAX_LENGTH_RATIO, side="right")
    paired = set[int]()
    for index, end in enumerate(ends):
        if index in paired:
            continue
        distances_db = fingerprint_distances_db(prints[index], prints[index + 1 : end])
        for offset in np.flatnonzero(distances_db < max_distance_db):
            other = index + 1 + int(offset)
            if other not in paired:
                paired.add(other)
                yield by_length[index], by_length[other], float(distances_db[offset])


def find_repeated_texts(clips: Sequence[MeasuredClip]) -> list[list[MeasuredClip]]:
    """Group clips of a speaker whose transcripts have the same letters and digits.

    Case, punctuation and spaces do not count. Transcripts of fewer than 20 letters are left out.
    """
    groups = defaultdict[tuple[str, str], list[MeasuredClip]](list)
    for clip in clips:
        folded = unicodedata.normalize("NFKC", clip.text).casefold()
        letters = "".join(filter(str.isalnum, folded))
        if len(letters) >= MIN_LETTERS:
            groups[clip.clip.speaker, letters].append(clip)
    return [group for group in groups.values() if len(group) > 1]
