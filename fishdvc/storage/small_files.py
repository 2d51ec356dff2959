"""Read small files that users name, with a limit on their size."""

import errno
import stat
from pathlib import Path

from fishdvc.storage.lfs import is_lfs_pointer


def read_small_file(path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file.

    Devices and pipes are not opened, because reading them may never end.

    Args:
        path: The file.
        max_bytes: Maximum size of the file, in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, is larger, or is a Git LFS pointer.
            ``strerror`` is the reason, for people.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "expected a file, got a device, pipe or socket", str(path))
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"expected at most {max_bytes} bytes, got more", str(path))
    if is_lfs_pointer(content):
        reason = "a Git LFS pointer in place of the file; run `git lfs pull`"
        raise OSError(errno.EINVAL, reason, str(path))
    return content
