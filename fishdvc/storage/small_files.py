"""Read small files that users name, with a limit on their size."""

import errno
import stat
from pathlib import Path

from fishdvc.storage.lfs import pointer_problem


def read_small_file(path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file.

    Devices and pipes are not opened, because reading them may never end.

    Args:
        path: The file.
        max_bytes: Maximum size of the file, in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, is larger, or is a pointer of Git
            LFS or git-annex. ``strerror`` is the reason, for people.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise OSError(errno.EINVAL, "expected a file, got a device, pipe or socket", str(path))
    with path.open("rb") as file:
        # Of a file that is too large, nothing is read. The size of some files is not known.
        content = file.read(max_bytes + 1 if status.st_size <= max_bytes else 0)
    if len(content) > max_bytes or status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"expected at most {max_bytes} bytes, got more", str(path))
    if problem := pointer_problem(content):
        raise OSError(errno.EINVAL, problem, str(path))
    return content
