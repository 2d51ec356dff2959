"""Write the sounds of the listening page."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fishdvc.audio.export import write_speech
from fishdvc.audio.waveform import Waveform

AUDIO_SUFFIX = ".mp3"
"""Every browser plays MP3. Safari does not play all Opus files."""


def write_audio(path: Path, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Write speech for the listening page, and create its folder if necessary.

    Args:
        path: File to write, with the suffix ``AUDIO_SUFFIX``.
        samples: ``(samples,)`` in -1..1. Samples beyond full scale are clipped.
        sample_rate_hz: One of the rates of MP3, such as 44100.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = Waveform(samples=samples, sample_rate_hz=sample_rate_hz)
    write_speech(path, waveform, suffix=AUDIO_SUFFIX)
