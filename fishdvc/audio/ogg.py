"""Find missing pages of Ogg files (RFC 3533), which FFmpeg skips without an error."""

import struct

HEADER_BYTES = 27
MAX_SEGMENTS = 255


def find_missing_pages(content: bytes) -> str | None:
    """Return what is missing in an Ogg file, or None if it is complete.

    Checksums are not compared, because FFmpeg does that.
    """
    start, continues = 0, False
    numbers: dict[int, int] = {}
    while content.startswith(b"OggS", start):
        page = content[start : start + HEADER_BYTES + MAX_SEGMENTS]
        if len(page) < HEADER_BYTES:
            return "the data end within a page"
        serial, number = struct.unpack("<II", page[14:22])
        if number != numbers.get(serial, number):
            return f"page {numbers[serial]} is missing"
        numbers[serial] = number + 1
        segments = page[HEADER_BYTES : HEADER_BYTES + page[26]]
        continues = segments.endswith(b"\xff")
        start += HEADER_BYTES + page[26] + sum(segments)
        if start > len(content):
            return "the data end within a page"
    # The end of the file, or tags after the last page.
    return "the data end within a packet" if continues else None
