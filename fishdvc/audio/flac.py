"""The checksum in the header of a FLAC file (RFC 9639)."""

import hashlib

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 42
"""Length of the signature and the first metadata block, which is always STREAMINFO."""


def is_flac(content: bytes) -> bool:
    """Whether a file is FLAC."""
    return content.startswith(b"fLaC") and len(content) >= HEADER_BYTES


def checksum_is_right(channels: npt.NDArray[np.float32], content: bytes) -> bool | None:
    """Compare decoded samples with the MD5 sum of all samples in the header.

    Args:
        channels: ``(samples, channels)``.
        content: The file.

    Returns:
        None if the header has no sum (streamed files), or if samples do not have whole bytes.
    """
    num_bits = ((content[20] & 1) << 4 | content[21] >> 4) + 1
    expected = content[26:HEADER_BYTES]
    if not any(expected) or num_bits not in (8, 16, 24):
        return None
    integers = np.rint(channels * np.float32(2 ** (num_bits - 1))).astype("<i4")
    packed = integers.view(np.uint8).reshape(-1, 4)[:, : num_bits // 8]
    return hashlib.md5(packed.tobytes(), usedforsecurity=False).digest() == expected
