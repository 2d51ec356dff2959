"""Cut long text into parts that are spoken one after another.

Knows punctuation, no language and no tokens.
"""

import re

_ENDINGS = (
    # A sentence: its mark, closing quotes or brackets, then white space; but no initial ("J. S.").
    r"(?:(?<![^\W\d_])|(?<=[^\W\d_]{2}))[.!?;…]+[\"'”’)\]]*\s+|[。！？；]+[”’」』）]*",
    r"[,:，、：]+\s+|[，、：]+|\s[-–—]+\s",
    r"\s+",
)
"""What may stand at the end of a part, the best first."""


def split_text(text: str, max_characters: int = 200) -> list[str]:
    """Cut a text into parts, at ends of sentences wherever possible.

    Sentences that fit into one part together stay together. A sentence that is too long is cut at
    commas, then at white space, and in the end anywhere.

    Args:
        text: Anything.
        max_characters: Longest part, at least 1.

    Returns:
        The parts in order, without white space around them; none for a text of white space.
        Between them nothing but white space is lost.
    """
    return _split(text.strip(), max_characters, 0)


def _split(text: str, max_characters: int, level: int) -> list[str]:
    if len(text) <= max_characters:
        return [text] if text else []
    if level == len(_ENDINGS):
        return [
            part
            for start in range(0, len(text), max_characters)
            if (part := text[start : start + max_characters].strip())
        ]
    parts: list[str] = []
    together = ""
    for piece in _pieces(text, _ENDINGS[level]):
        if len((together + piece).rstrip()) <= max_characters:
            together += piece
            continue
        parts += _split(together.strip(), max_characters, level + 1)
        together = piece
    return parts + _split(together.strip(), max_characters, level + 1)


def _pieces(text: str, ending: str) -> list[str]:
    """Cut after each ending; joined again, the pieces are the text."""
    ends = [match.end() for match in re.finditer(ending, text)]
    starts = [0, *ends]
    return [text[a:b] for a, b in zip(starts, [*ends, len(text)], strict=True) if a < b]
