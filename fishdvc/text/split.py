"""Split a long text into parts that are spoken one after another."""

import re

from fishdvc.text.clean import is_speakable

_ENDINGS = (
    # A sentence: its marks, closing quotes or brackets, then white space; but no initial ("J. S.").
    # A run of marks matches only from its first one, so that the text is read once.
    r"(?<![.!?;…])(?:(?<![^\W\d_])|(?<=[^\W\d_]{2})|(?=.[.!?;…]))[.!?;…]+[\"'”’)\]]*\s+"
    r"|[。！？；]+[”’」』）]*",
    r"(?<![,:，、：])[,:，、：]+\s+|[，、：]+|\s[-–—]+\s",
    r"\s+",
)
"""Patterns of where a part may end, from the most to the least preferred."""


def split_text(text: str, max_characters: int = 200) -> list[str]:
    """Split a text, at the ends of sentences if possible.

    A part holds as many sentences as fit. A sentence that is too long for one part is split at
    commas; if a piece is still too long, at white space, and then anywhere.

    Args:
        text: Any text.
        max_characters: Maximum length of a part, at least 1.

    Returns:
        The parts in order, without white space at their ends. White space between them is lost,
        and parts with nothing to speak, such as ``...``.
    """
    return [part for part in _split(text.strip(), max_characters, 0) if is_speakable(part)]


def _split(text: str, max_characters: int, level: int) -> list[str]:
    if len(text) <= max_characters:
        return [text] if text else []
    if level == len(_ENDINGS):
        starts = range(0, len(text), max_characters)
        parts = [text[start : start + max_characters].strip() for start in starts]
        return [part for part in parts if part]
    parts = []
    together = ""
    for piece in _pieces(text, _ENDINGS[level]):
        if len((together + piece).rstrip()) <= max_characters:
            together += piece
            continue
        parts += _split(together.strip(), max_characters, level + 1)
        together = piece
    return parts + _split(together.strip(), max_characters, level + 1)


def _pieces(text: str, ending: str) -> list[str]:
    """Split after each match of ``ending``. The pieces joined are the text."""
    ends = [match.end() for match in re.finditer(ending, text)]
    starts = [0, *ends]
    return [text[a:b] for a, b in zip(starts, [*ends, len(text)], strict=True) if a < b]
