"""Metrics of speech for the demo's base: error rates as in NOTEBOOK.md, and their intervals.

The recognizer and the speaker encoder are those of ``fishdvc.evaluation``. All audio is float32
mono at 16 kHz.
"""

import re
from collections.abc import Sequence
from statistics import mean, median

import jiwer
import numpy as np
from numpy.typing import NDArray

from fishdvc.evaluation import recognition
from fishdvc.evaluation.bootstrap import mean_interval

Audio = NDArray[np.float32]


def plain_words(text: str) -> str:
    """Keep only lower-case words and single spaces. Digits are not spelled out."""
    return " ".join(re.sub(r"[^a-z0-9' ]", "", text.lower().replace("-", " ")).split())


def error_rates(texts: Sequence[str], transcripts: Sequence[str]) -> dict[str, float]:
    """Compare English transcripts with texts.

    Returns:
        ``wer`` and ``cer``: word and character error rates over all texts, above 1 if transcripts
        are longer than texts. ``median_cer``: median over the texts; a transcript in which Whisper
        repeats itself can outweigh all others in ``cer`` but hardly changes the median.
        ``sentence_cer``: mean of ``sentence_error_rates``.
    """
    plain_texts, plain_transcripts = (
        [plain_words(text) for text in group] for group in (texts, transcripts)
    )
    return {
        "wer": jiwer.wer(plain_texts, plain_transcripts),
        "cer": jiwer.cer(plain_texts, plain_transcripts),
        "median_cer": median(map(jiwer.cer, plain_texts, plain_transcripts)),
        "sentence_cer": mean(sentence_error_rates(texts, transcripts)),
    }


def sentence_error_rates(texts: Sequence[str], transcripts: Sequence[str]) -> list[float]:
    """Compute the character error rate of each text as the stage ``evaluate`` does.

    "15" equals "fifteen", and a rate is at most 1, however often Whisper repeats itself.
    """
    pairs = zip(texts, transcripts, strict=True)
    return [recognition.error_rates(text, heard, "en")["cer"] for text, heard in pairs]


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the mean."""
    interval = mean_interval(values)
    return interval.low, interval.high
