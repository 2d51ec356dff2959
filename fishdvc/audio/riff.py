"""The length of a WAV file: what its header says, and what the file contains."""

import re
import struct
from pathlib import Path

from fishdvc.errors import AudioError

PLACEHOLDER_BYTES = 0x7F000000
"""Programs that stream write 0, or this (SoX) or more (espeak, arecord, FFmpeg) as length."""
TOLERANCE_BYTES = 44
"""Some programs count the usual header of 44 bytes as samples."""


def is_wav(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (at least 12 bytes) is WAV, RF64 or BW64."""
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def length_is_known(path: Path) -> bool:
    """Whether the header of a WAV file gives the length of its samples.

    It does not if the file was streamed, or if its writer was killed before it updated the header.
    Then the samples end where the file ends.

    Raises:
        AudioError: The file is truncated: it contains less than its header states.
    """
    with path.open("rb") as file:
        file.seek(12)
        large_bytes = 0
        while len(head := file.read(8)) == 8:
            name, num_bytes = struct.unpack("<4sI", head)
            if name == b"data":
                break
            if name == b"ds64":  # In RF64 and BW64: lengths in 64 bits.
                large_bytes = int.from_bytes(file.read(16)[8:], "little")
                num_bytes -= 16
            file.seek(max(0, num_bytes + num_bytes % 2), 1)
        else:
            return False
        start = file.tell()
        found_bytes = file.seek(0, 2) - start
        num_bytes = large_bytes or num_bytes
        if num_bytes == 0 or num_bytes >= PLACEHOLDER_BYTES:
            return False
        if num_bytes > found_bytes + TOLERANCE_BYTES:
            raise AudioError(
                f"{path}: truncated: {found_bytes} of {num_bytes} bytes of samples are there; "
                "copy or export it again, or remove it"
            )
        file.seek(min(start + num_bytes, start + found_bytes))
        # Other chunks may follow, at an even position or not, and tags of other formats.
        rest = file.read(4)
        return len(rest) < 4 or any(re.match(rb"\w{3}", rest[i:]) for i in (0, 1))
