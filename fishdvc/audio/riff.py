"""Find where the samples of a WAV file end, which its header often states wrongly."""

import re
import struct

from fishdvc.audio.chunks import Layout, several_chunks, walk
from fishdvc.errors import AudioError

PLACEHOLDER_BYTES = 0x7F000000
"""Programs that stream write 0, or this (SoX) or more (espeak, arecord, FFmpeg) as length."""
TOLERANCE_BYTES = 44
"""Some programs count the usual header of 44 bytes as samples."""
MAX_CHUNKS_BYTES = 2**24
"""Chunks after samples of unknown length are searched in this much of the end of the file."""
TAGS = (b"LIST", b"id3 ", b"TAG", b"ID3", b"APETAGEX")
CHUNK = re.compile(rb"(?=[A-Za-z_][\w ]{3}(.{4}))", re.DOTALL)
"""Name and length of a chunk."""


def is_wav(content: bytes) -> bool:
    """Whether a file is WAV: RIFF, RIFX (big-endian), RF64 or BW64 (64-bit lengths)."""
    return content[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and content[8:12] == b"WAVE"


def with_true_length(content: bytes) -> bytes:
    """Return a WAV file with the true length of its samples in its header, and nothing after them.

    The length in the header is not used if the file was streamed, or if its writer was killed
    before it updated the header. Then the samples end where the file ends, or where chunks follow.

    Args:
        content: A file for which ``is_wav`` is true.

    Returns:
        A file that starts with RIFF or RIFX. ``content`` if there is no chunk of samples.

    Raises:
        AudioError: The file contains less than its header states, or more chunks of samples.
    """
    order, magic = (">", b"RIFX") if content.startswith(b"RIFX") else ("<", b"RIFF")
    layout = Layout(f"{order}4sI", align=2)
    stated_bytes = 0
    for name, start, num_bytes in walk(content, 12, layout):
        if name == b"ds64":  # In RF64 and BW64: lengths in 64 bits.
            stated_bytes = int.from_bytes(content[start + 8 : start + 16], "little")
        if name == b"data":
            stated_bytes = stated_bytes or num_bytes
            break
    else:
        return content
    found_bytes = len(content) - start
    end = min(start + stated_bytes, len(content))
    if stated_bytes == 0 or stated_bytes >= PLACEHOLDER_BYTES:
        end = _find_end(content, start, order)
    elif stated_bytes > found_bytes + TOLERANCE_BYTES:
        raise AudioError(
            f"truncated: {found_bytes} of {stated_bytes} bytes of samples are there; "
            "copy or export it again, or remove it"
        )
    elif len(content) - end >= 4 and not any(_is_tag(content, end + i, order) for i in (0, 1)):
        end = _find_end(content, start, order)
    # Chunks start at an even position, but some programs do not write the byte between.
    after = end if _is_tag(content, end, order) else end + 1
    if any(name == b"data" for name, *_ in walk(content, after, layout)):
        raise several_chunks(b"data")
    length = struct.pack(f"{order}I", end - start)
    return b"".join([magic, content[4 : start - 4], length, content[start:end]])


def _is_tag(content: bytes, at: int, order: str) -> bool:
    """Whether a chunk, or a tag of another format, starts here. Random samples do not pass."""
    if content.startswith(TAGS, at):
        return True
    chunk = CHUNK.match(content, at)
    return chunk is not None and _chunk_end(chunk, order) <= len(content) + 1


def _chunk_end(chunk: re.Match[bytes], order: str) -> int:
    num_bytes: int = struct.unpack(f"{order}I", chunk[1])[0]
    return chunk.start() + 8 + num_bytes


def _find_end(content: bytes, start: int, order: str) -> int:
    """Return where the chunks begin of which the last one ends exactly where the file ends."""
    ends = {len(content)}
    start = max(start, len(content) - MAX_CHUNKS_BYTES)
    for chunk in reversed(list(CHUNK.finditer(content, start))):
        end = _chunk_end(chunk, order)
        if end in ends or (end % 2 and end + 1 in ends):
            ends.add(chunk.start())
    return min(ends)
