"""A clip with the measures of its recording, and its speaking rate."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishdvc.audio.measures import AudioMeasures
from fishdvc.corpus.clips import Clip

Floats = NDArray[np.float64]

LETTERS_PER_CLIP = 6
"""Added to each transcript, because a short clip is spoken slowly and has no pause to cut off."""
MIN_CLIPS = 8
"""Least number of clips of a speaker from which the usual rate is known."""
MIN_DEVIATION = 0.1
"""Least standard deviation of the logarithm of the rate, for speakers with very even clips."""
_MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution by its median absolute deviation."""


@dataclass(frozen=True, kw_only=True)
class MeasuredClip:
    """A clip that can be used.

    Attributes:
        clip: Its name and files.
        text: Transcript without annotations.
        audio: Measures of the recording.
    """

    clip: Clip
    text: str
    audio: AudioMeasures

    @property
    def letters_per_s(self) -> float:
        """Speaking rate, from the first sound to the last one."""
        return spoken_letters(self.text) / self.audio.sound_s


def spoken_letters(text: str) -> float:
    """Estimate the length of a text as it is spoken, in letters, plus a constant for the clip.

    A digit counts as four letters, a full-width character, such as a Chinese one, as three, and a
    letter of an abbreviation in capitals as two: some are spelled, others are read as words.
    """
    return LETTERS_PER_CLIP + sum(
        _spoken_letters(char, following)
        for char, following in zip(text, text[1:] + " ", strict=True)
    )


def compare_rates(letters_per_s: Sequence[float]) -> tuple[Floats, Floats]:
    """Compare the rate of each clip of a speaker with their median.

    Returns:
        Rates divided by the median, and the logarithms of these in standard deviations. The
        deviation is estimated from the median absolute deviation, which wrong transcripts hardly
        change. For fewer than eight clips the logarithms are 0.
    """
    rates = np.asarray(letters_per_s)
    ratios: Floats = rates / np.median(rates)
    if len(ratios) < MIN_CLIPS:
        return ratios, np.zeros(len(ratios))
    logs = np.log(ratios)
    deviation = _MAD_TO_DEVIATION * np.median(np.abs(logs))
    return ratios, logs / max(deviation, MIN_DEVIATION)


def _spoken_letters(char: str, following: str) -> int:
    if char.isdigit():
        return 4
    if not char.isalpha():
        return 0
    is_spelled = char.isupper() and not following.islower()
    if unicodedata.east_asian_width(char) in "WF":
        return 3
    return 2 if is_spelled else 1
