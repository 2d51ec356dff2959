"""Walk through the chunks of WAV, AIFF, CAF and W64 files, and find second chunks of samples."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fishdvc.errors import AudioError


class Layout(NamedTuple):
    """How a format stores its chunks.

    Attributes:
        header: Struct of the name and the length of a chunk.
        align: Chunks start at multiples of this.
        counts_header: Whether the length counts the header.
    """

    header: str
    align: int
    counts_header: bool = False


W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"
FORMATS = {
    b"FORM": (12, Layout(">4sI", align=2), b"SSND"),
    b"caff": (8, Layout(">4sq", align=1), b"data"),
    b"riff": (40, Layout("<16sQ", align=8, counts_header=True), W64_DATA),
}
"""Position of the first chunk, layout, and name of the chunk of samples in AIFF, CAF and W64
files, by their first 4 bytes."""


def walk(content: bytes, at: int, layout: Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the stated length of each chunk from a position on.

    A length below 0, which means up to the end of the file, is the last one.
    """
    size = struct.calcsize(layout.header)
    while at + size <= len(content):
        name, num_bytes = struct.unpack_from(layout.header, content, at)
        num_bytes -= size * layout.counts_header
        yield name, at + size, num_bytes
        if num_bytes < 0:
            return
        at += size + num_bytes
        at += -at % layout.align


def several_chunks(name: bytes) -> AudioError:
    """Return the error of a file with several chunks of samples."""
    return AudioError(
        f"has several `{name[:4].decode()}` chunks, of which programs read only one; export it "
        "again, or remove it"
    )


def check_chunks(content: bytes) -> None:
    """Check that an AIFF, CAF or W64 file has one chunk of samples. Other files pass.

    Raises:
        AudioError: It has several.
    """
    if content[:4] in FORMATS:
        start, layout, name = FORMATS[content[:4]]
        if sum(found == name for found, *_ in walk(content, start, layout)) > 1:
            raise several_chunks(name)
