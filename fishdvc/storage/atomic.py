"""Atomic writes: a reader sees the old content or the complete new content.

New content is written to a hidden folder beside its destination. The process first locks a hidden
file of the same name. So the next write beside it can delete the folders of killed processes.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from fishdvc.storage.lock import try_lock

HIDDEN = ".fishdvc-"
"""Start of the names of the hidden folders and of their lock files."""
PARTIAL_SUFFIX, LOCK_SUFFIX = ".partial", ".lock"
NEW, OLD = "new", "old"


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces ``folder`` if the block succeeds.

    Raises:
        NotADirectoryError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with _partial_folder(folder.parent) as partial:
        new = partial / NEW
        new.mkdir()
        yield new
        _replace_folder(new, folder, partial)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces ``path`` if the block succeeds.

    The temporary file has the same name in another folder.

    Raises:
        IsADirectoryError: ``path`` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with _partial_folder(path.parent) as partial:
        yield partial / path.name
        (partial / path.name).replace(path)


def delete_folder(folder: Path) -> None:
    """Delete a folder so that a killed process never leaves a part of it under its name."""
    with _partial_folder(folder.parent) as partial:
        folder.rename(partial / NEW)


def sweep(folder: Path) -> None:
    """Delete what killed processes left of their writes to this folder.

    A process that is killed while it replaces a folder may leave the old folder under another name.
    The old folder gets its name back.
    """
    names = {path.stem for path in folder.glob(f"{HIDDEN}*")}
    for name in sorted(names):
        # A leftover of another user may not be deletable.
        with suppress(OSError):
            lock = try_lock(folder / f"{name}{LOCK_SUFFIX}")
            if lock is not None:
                _delete_partial(folder / f"{name}{PARTIAL_SUFFIX}", lock)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Create its folder if necessary."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_metrics(path: Path, metrics: Mapping[str, float | int | str]) -> None:
    """Write metrics as JSON for ``dvc metrics`` and ``dvc exp show``. Keep their order."""
    write_text(path, json.dumps(metrics, indent=2) + "\n")


@contextmanager
def _partial_folder(parent: Path) -> Iterator[Path]:
    """Yield a new, locked, hidden folder, which is deleted after the block."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    lock = None
    # Before the file is locked, another process may take it for a leftover.
    while lock is None:
        name = f"{HIDDEN}{os.getpid()}-{secrets.token_hex(4)}"
        lock = try_lock(parent / f"{name}{LOCK_SUFFIX}")
    partial = parent / f"{name}{PARTIAL_SUFFIX}"
    try:
        partial.mkdir()
        yield partial
    finally:
        _delete_partial(partial, lock)


def _replace_folder(new: Path, folder: Path, partial: Path) -> None:
    """Rename the old folder away, then the new one to its name.

    Another process may rename its own folder to this name in between. Then that one is replaced.
    """
    for attempt in range(100):
        old = partial / f"{OLD}-{attempt}"
        old.mkdir()
        with suppress(FileNotFoundError):
            folder.rename(old / folder.name)
        try:
            new.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
    raise FileExistsError(errno.EEXIST, "other processes replace it again and again", str(folder))


def _delete_partial(partial: Path, lock: FileLock) -> None:
    """Delete a partial folder and its lock. Restore a folder that was not replaced."""
    for old in sorted(partial.glob(f"{OLD}-*/*"), reverse=True):
        destination = partial.parent / old.name
        if not destination.exists():
            with suppress(OSError):
                old.rename(destination)
    shutil.rmtree(partial, ignore_errors=True)
    # Windows does not delete an open file.
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()
