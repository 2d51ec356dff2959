"""Samples of utterances at the sample rate of the metrics."""

import numpy as np
import torch
from numpy.typing import NDArray

from fishdvc.audio.resample import resample
from fishdvc.evaluation.results import Utterance

Samples = NDArray[np.float32]

SAMPLE_RATE_HZ = 16000
"""Rate of the recognizer, the speaker encoder and the predictors of ratings. The other metrics use
it too, so that the bandwidth of recordings matters less."""
MIN_NUM_SAMPLES = 1600
"""0.1 s. The models need some samples; shorter speech is followed by silence."""


def at_16_khz(utterance: Utterance) -> Samples:
    """Resample an utterance to 16 kHz: float32 ``(samples,)``."""
    samples = torch.from_numpy(utterance.samples)
    resampled: Samples = resample(samples, utterance.sample_rate_hz, SAMPLE_RATE_HZ).numpy()
    return resampled


def for_models(utterance: Utterance) -> Samples:
    """Resample an utterance to 16 kHz, with at least 0.1 s and within full scale."""
    samples = at_16_khz(utterance).clip(-1, 1)
    return np.pad(samples, (0, max(0, MIN_NUM_SAMPLES - len(samples))))
