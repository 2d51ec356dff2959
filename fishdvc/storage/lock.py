"""Locks between processes. The system frees a lock when its process ends, even if it is killed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

WAITING_POLL_S = 0.5


def try_lock(path: Path) -> FileLock | None:
    """Lock a file, which is created. Return None if another process holds the lock.

    Raises:
        FileNotFoundError: The folder of the file does not exist.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


@dataclass(frozen=True)
class RunLock:
    """A lock that this process holds.

    Attributes:
        path: The lock file.
        waited: Whether another process held the lock before.
    """

    path: Path
    waited: bool

    def others_wait(self) -> bool:
        """Whether another process waits for this lock now."""
        return any(_is_locked(marker) for marker in self.path.parent.glob(f"{self.path.name}.*"))


@contextmanager
def run_lock(path: Path, *, purpose: str) -> Iterator[RunLock]:
    """Hold a lock during the block. If another process holds it, print one line and wait.

    Args:
        path: The lock file. It is created and stays.
        purpose: Why the process waits, for the printed line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = try_lock(path)
    waited = lock is None
    if lock is None:
        lock = _wait(path, purpose)
    try:
        yield RunLock(path, waited)
    finally:
        lock.release()


def _wait(path: Path, purpose: str) -> FileLock:
    """Wait for a lock, with a locked file beside it that ``others_wait`` finds."""
    lock = FileLock(path)
    marker = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    with FileLock(marker):
        print(f"waiting for another run: {purpose}", flush=True)
        lock.acquire(poll_interval=WAITING_POLL_S)
    marker.unlink(missing_ok=True)
    return lock


def _is_locked(path: Path) -> bool:
    lock = try_lock(path)
    if lock is not None:
        lock.release()
        path.unlink(missing_ok=True)
    return lock is None
