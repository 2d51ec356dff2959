"""Names of clips and speakers, and names that cannot be printed or are too long."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MAX_NAME_BYTES = 255
"""Longest name of a file on common file systems."""
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of control characters, of bytes that are not UTF-8, and of line ends."""


def speaker_of(clip: str) -> str:
    """Return the speaker of a clip: the path of its folder below ``dataset.path``.

    The speaker of clips directly in ``dataset.path`` is ``.``.
    """
    return PurePosixPath(clip).parent.as_posix()


def printable(path: Path) -> str:
    """Return a path as one line of valid Unicode. Other bytes and characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(repr(char)[1:-1] if _is_unprintable(char) else char for char in text)


def name_problem(path: Path) -> str | None:
    """Return a problem if the name of a file or folder cannot be printed or stored as UTF-8."""
    if any(map(_is_unprintable, path.name)):
        return f"{printable(path)}: its name is not UTF-8 or has control characters; rename it"
    return None


def length_problem(clip: str, audio: Path, suffixes: Iterable[str]) -> str | None:
    """Return a problem if a file named after the clip, with one of the suffixes, is too long."""
    room = MAX_NAME_BYTES - max(len(os.fsencode(suffix)) for suffix in suffixes)
    num_bytes = len(os.fsencode(PurePosixPath(clip).name))
    if num_bytes > room:
        return (
            f"{audio}: expected a name of at most {room} bytes before the suffix, got {num_bytes}; "
            "rename it and its transcript"
        )
    return None


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in _UNPRINTABLE
