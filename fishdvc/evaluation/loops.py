"""Loops: sequences of codes that a model repeats."""

import numpy as np
from numpy.typing import NDArray

NGRAM_FRAMES = 16
"""0.74 s with the published codec. Shorter n-grams repeat in recorded speech too."""
MIN_EQUAL = 13
"""Codes of an n-gram that must be equal. Sampling replaces some in each round of a loop."""


def looped_share(codes: NDArray[np.integer], loud: NDArray[np.bool_]) -> float:
    """Compute the share of frames that repeat earlier ones.

    A frame is a repetition if its code and almost all others of an n-gram around it occurred
    earlier, at any distance; a code that does not change is a repetition too. Only the first
    codebook is compared: the others are different in each round. Quiet frames do not count,
    because codes repeat in pauses of recorded speech too.

    Args:
        codes: ``(num_codebooks, frames)``.
        loud: ``(frames,)``, whether a frame is louder than a pause.

    Returns:
        From 0 to 1: 0 in recorded speech, 0.5 for a sequence that is spoken twice.
    """
    first = codes[0]
    num_frames = len(first)
    repeated = np.zeros(num_frames, dtype=bool)
    for lag in range(1, num_frames - NGRAM_FRAMES + 1):
        equal = first[lag:] == first[:-lag]
        count = np.cumsum(np.pad(equal, (1, 0)))
        starts = np.flatnonzero(count[NGRAM_FRAMES:] - count[:-NGRAM_FRAMES] >= MIN_EQUAL)
        frames = np.unique(starts[:, None] + np.arange(NGRAM_FRAMES))
        repeated[lag + frames[equal[frames]]] = True
    return float((repeated & loud).mean()) if num_frames else 0.0
