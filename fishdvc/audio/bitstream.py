"""Find compressed audio that is stored as if it were samples. It sounds like noise."""

import numpy as np
import numpy.typing as npt

SYNC_WORDS = {
    "DTS": ("FE7F0180", "7FFE8001", "FF1F00E8", "1FFFE800"),
    "AC-3 or another codec in IEC 61937": ("72F81F4E", "F8724E1F"),
}
"""How each frame starts, as 16-bit samples in both byte orders. DTS has 16 or 14 bits per sample
(ETSI TS 102 114). IEC 61937 is the format of S/PDIF."""
NUM_VALUES = 2**19
"""Samples of all channels that are searched, in the middle of the file: 6 s of stereo."""
MIN_FRAMES = 3
"""So many are not in random samples."""


def find_codec(channels: npt.NDArray[np.float32]) -> str | None:
    """Return the name of the codec whose frames are stored as samples, or None.

    Args:
        channels: ``(samples, channels)``, full scale at -1 and 1.
    """
    middle, half = len(channels) // 2, NUM_VALUES // channels.shape[1] // 2
    part = channels[max(0, middle - half) : middle + half]
    content = np.rint(part * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2").tobytes()
    for codec, words in SYNC_WORDS.items():
        if any(content.count(bytes.fromhex(word)) >= MIN_FRAMES for word in words):
            return codec
    return None
