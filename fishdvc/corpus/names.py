"""Names of clips and speakers, and names that cannot be printed or are too long."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from fishdvc.errors import printable

MAX_NAME_BYTES = 255
"""Longest name of a file on common file systems."""


def speaker_of(clip: str) -> str:
    """Return the speaker of a clip: the path of its folder below ``dataset.path``.

    The speaker of clips directly in ``dataset.path`` is ``.``.
    """
    return PurePosixPath(clip).parent.as_posix()


def name_problem(path: Path) -> str | None:
    """Return a problem if the name of a file or folder cannot be printed or stored as UTF-8."""
    if printable(path.name) != path.name:
        return f"{printable(str(path))}: its name is not UTF-8 or has control characters; rename it"
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
