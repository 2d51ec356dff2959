"""Make the n-th change of a file fail, or stop the program there.

Python reports each operation on files to audit hooks before it starts. An exception in a hook
prevents the operation. Operations of libraries in C, as of libsndfile, are not reported.
"""

import errno
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
FAULTS = ("killed", "disk full", "read-only")
_FAULTS = os.environ.get("FISHDVC_FAULTS", "0")
EVERY = 1 if _FAULTS == "all" else int(_FAULTS)
"""Distance of the failpoints that are tried. 0: a sample is tried."""


def chosen(points: range, sample: int, seed: str) -> Sequence[int]:
    """Return every ``EVERY``-th failpoint, or a sample of them."""
    return points[::EVERY] if EVERY else sorted(random.Random(seed).sample(points, sample))


class KilledError(BaseException):
    """Stands for SIGKILL: from the failpoint on, no operation changes a file, not even cleanup."""


class _Failpoint:
    """The state of the hook, which cannot be removed.

    Attributes:
        fault: What happens; None: nothing.
        remaining: Number of changes before the failpoint.
        num_changes: Number of changes so far.
    """

    fault: str | None = None
    remaining = 0
    num_changes = 0


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _Failpoint.fault is None or not _is_change(event, arguments):
        return
    _Failpoint.num_changes += 1
    _Failpoint.remaining -= 1
    if _Failpoint.remaining >= 0:
        return
    if _Failpoint.fault == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if _Failpoint.fault == "killed":
        raise KilledError
    path = arguments[0] if isinstance(arguments[0], str) else None
    if _Failpoint.fault == "read-only":
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    if _Failpoint.fault == "disk full" and event not in ("os.remove", "os.rmdir"):
        _Failpoint.remaining = sys.maxsize
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _is_change(event: str, arguments: tuple[object, ...]) -> bool:
    if event in CHANGES:
        return True
    if event != "open" or not isinstance(arguments[0], str | bytes):
        return False
    path, _, flags = arguments
    writes = int(str(flags)) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return bool(writes) and not os.fsdecode(path).endswith((".pyc", "/dev/null"))


sys.addaudithook(_hook)


@contextmanager
def failpoint(fault: str, after: int) -> Iterator[type[_Failpoint]]:
    """Let a fault happen after a number of changes of files in the block.

    Args:
        fault: One of ``FAULTS``; ``SIGKILL``, which ends this process; or ``none``, to count.
        after: Number of changes that succeed before.
    """
    _Failpoint.fault, _Failpoint.remaining, _Failpoint.num_changes = fault, after, 0
    try:
        yield _Failpoint
    finally:
        _Failpoint.fault = None
