"""Synthetic utterances."""

import numpy as np
from numpy.typing import NDArray

from fishdvc.evaluation.results import Utterance

RATE_HZ = 16000


def buzz(f0_hz: float, duration_s: float, tilt: float = 1.0) -> NDArray[np.float32]:
    """Harmonics up to 6 kHz whose amplitudes fall with ``k ** -tilt``, at an RMS of 0.1."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    numbers = np.arange(1.0, 6000 // f0_hz)
    phases = 2 * np.pi * f0_hz * numbers[:, None] * time_s + numbers[:, None]
    samples = (numbers[:, None] ** -tilt * np.cos(phases)).sum(axis=0)
    return (0.1 * samples / np.sqrt(np.square(samples).mean())).astype(np.float32)


def utterance(samples: NDArray[np.float32], **values: object) -> Utterance:
    """An utterance of ten characters by ann."""
    defaults = {"text": "ten digits", "speaker": "ann", "sample_rate_hz": RATE_HZ}
    return Utterance(samples=samples, **{**defaults, **values})  # type: ignore[arg-type]
