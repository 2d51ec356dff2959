"""Find ASF files (WMA) that are cut, of which FFmpeg decodes the rest without an error."""

import struct

HEADER = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
"""GUID of the first object."""


def is_cut(content: bytes) -> bool:
    """Whether a file ends before its data object does. A streamed file states no length."""
    if not content.startswith(HEADER) or len(content) < 24:
        return False
    (start,) = struct.unpack_from("<Q", content, 16)
    if start + 24 > len(content):
        return True
    (num_bytes,) = struct.unpack_from("<Q", content, start + 16)
    return bool(start + num_bytes > len(content))
