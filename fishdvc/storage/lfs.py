"""Recognize pointer files of Git LFS, which stand in for files that were not downloaded."""

_FIRST_LINE = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a Git LFS pointer.

    Args:
        head: At least the first 40 bytes of the file.
    """
    return head.startswith(_FIRST_LINE)
