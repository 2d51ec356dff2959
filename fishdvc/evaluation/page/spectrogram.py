"""Draw the mel spectrograms of the listening page."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fishdvc.audio.mel import LogMelSpectrogram

SIZE = (400, 80)
"""Width and height in pixels. The height is the number of mel bands."""

RANGE = 8.0
"""Natural logarithm of the range of magnitudes that is drawn, about 70 dB."""
MIN_LOUDEST = -2.0
"""Smallest log magnitude of the brightest color, so that silence and faint noise stay dark. In
speech at full level the loudest magnitude is about 1, in digital silence -10."""
NUM_COLORS = 32
"""With so few colors a picture has about 10 kB."""
COLORS = ("#0b1220", "#17345c", "#1c6c86", "#46b09f", "#c9dc8b", "#fff6cf")
"""From silence to the loudest."""


def write_spectrogram(path: Path, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Write a picture of the mel spectrogram.

    Time runs from left to right over the whole width. Frequency runs from 0 Hz at the bottom to
    half the sample rate on the mel scale. The loudest magnitude of a clip has the brightest color.

    Args:
        path: PNG file to write.
        samples: ``(samples,)`` in -1..1.
        sample_rate_hz: Sample rate of the samples.
    """
    width, num_mels = SIZE
    n_fft = sample_rate_hz // 20
    # At most as many frames as pixels, so that no sound falls between two columns.
    hop_length = min(max(len(samples) // width, sample_rate_hz // 400), n_fft)
    audio = torch.from_numpy(samples)
    audio = torch.nn.functional.pad(audio, (0, max(0, n_fft - len(audio))))
    mel = LogMelSpectrogram(
        sample_rate_hz=sample_rate_hz, n_fft=n_fft, hop_length=hop_length, num_mels=num_mels
    )(audio.unsqueeze(0))[0].numpy()
    top = max(float(mel.max()), MIN_LOUDEST)
    levels = np.clip((mel - top) / RANGE + 1, 0, 1) * (NUM_COLORS - 1)
    picture = Image.fromarray(np.flipud(levels).round().astype(np.uint8))
    # The nearest pixel, because a mean of two indices of colors has no meaning.
    picture = picture.resize(SIZE, Image.Resampling.NEAREST)
    picture.putpalette(_palette())
    picture.save(path, format="PNG", optimize=True)


def _palette() -> bytes:
    """Interpolate the colors, ``3 * NUM_COLORS`` bytes."""
    anchors = np.array([list(bytes.fromhex(color[1:])) for color in COLORS], dtype=float)
    positions = np.linspace(0, len(COLORS) - 1, NUM_COLORS)
    channels = [np.interp(positions, range(len(COLORS)), channel) for channel in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()
