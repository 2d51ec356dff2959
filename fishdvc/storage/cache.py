"""Keep what was made of single files, so that adding one clip costs one clip.

DVC reruns a whole stage when one of its inputs changed and empties the stage's outputs first. This
cache lies outside of them: a file is found again by the hash of everything it was made from. It is
always safe to delete. Starts without torch.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

CACHE_FOLDER = ".fishdvc_cache"


class FileCache:
    """Files by the hash of what they were made from, below one folder.

    Args:
        folder: Where to keep them; made when the first one is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, key: str, destination: Path) -> bool:
        """Copy the file of a key to a new path; return whether there was one."""
        try:
            shutil.copyfile(self._path(key), destination)
        except FileNotFoundError:
            return False
        return True

    def holds(self, key: str) -> bool:
        """Whether there is a file of this key."""
        return self._path(key).is_file()

    def store(self, key: str, source: Path) -> None:
        """Keep a copy of a file; a reader never sees half of it."""
        kept = self._path(key)
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
        shutil.copyfile(source, partial)
        partial.replace(kept)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]


def project_cache(stage: str) -> FileCache:
    """Return the cache of a stage.

    It lies at the top of the project, also for the copies of it in which
    ``dvc exp run --temp`` and ``--queue`` work, so that these find it too.
    """
    here = Path.cwd()
    hosts = [folder.parent for folder in (here, *here.parents) if folder.name == ".dvc"]
    top = hosts[0] if hosts else here
    return FileCache(top / CACHE_FOLDER / stage)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hash(files: Iterable[Path]) -> str:
    """SHA-256 of source files, because a result is stale once its code has changed."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def combined_key(*parts: object) -> str:
    """One key of several parts; equal only where every part is."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
