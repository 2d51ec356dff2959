"""Compare a text with what a recognizer heard, word by word."""

import re
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, Japanese kana and Han, which are written without spaces."""
_WORD = re.compile(rf"(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)\s*")


class Part(NamedTuple):
    """Consecutive words. ``missing`` ones are in the text only, ``added`` ones were heard only."""

    kind: Literal["same", "missing", "added"]
    words: str


def mark_differences(text: str, heard: str) -> list[Part]:
    """Split what was heard, and the words of the text that were not heard, into parts.

    Case and punctuation do not count. In scripts without spaces a word is a character.

    Args:
        text: What should be heard.
        heard: What was heard.

    Returns:
        Parts in the order of reading. Without the missing ones they are what was heard.
    """
    expected, got = _WORD.findall(text), _WORD.findall(heard)
    matcher = SequenceMatcher(None, [*map(_key, expected)], [*map(_key, got)], autojunk=False)
    parts = []
    for operation, start, end, got_start, got_end in matcher.get_opcodes():
        if operation == "equal":
            parts.append(Part("same", "".join(got[got_start:got_end])))
            continue
        if end > start:
            parts.append(Part("missing", "".join(expected[start:end])))
        if got_end > got_start:
            parts.append(Part("added", "".join(got[got_start:got_end])))
    return parts


def _key(word: str) -> str:
    return re.sub(r"[\W_]", "", word).casefold()
