"""Recognize files of Git LFS and git-annex that stand in for files that were not downloaded."""

import re

_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_GIT_ANNEX = re.compile(rb"(?:[^\n]{0,999}\.git)?[/\\]annex[/\\]objects[/\\]")
"""How the pointer of an unlocked file starts, or the target of the link to a locked file. Git
writes the target into a file on file systems without links."""


def pointer_problem(head: bytes) -> str | None:
    """Return that a file is a pointer, and the command that downloads it, or None if it is none.

    Args:
        head: The first bytes of the file, at least 40, or the target of a link.
    """
    if head.startswith(_GIT_LFS):
        return "a Git LFS pointer in place of the file; run `git lfs pull`"
    if _GIT_ANNEX.match(head):
        return "a git-annex pointer in place of the file; run `git annex get`"
    return None
