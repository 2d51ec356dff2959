"""Cache of single files, so that a rerun of a stage processes only new or changed clips.

DVC empties the outputs of a stage before a rerun. The cache is outside the outputs, and its key is
a hash of all inputs of a file. The cache folder can be deleted at any time.
"""

import hashlib
import shutil
from pathlib import Path

from fishdvc.storage.atomic import atomic_file

CACHE_FOLDER = ".fishdvc_cache"


class FileCache:
    """Files by key.

    Args:
        folder: Folder of the files. Created by the first ``store``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, key: str, destination: Path) -> bool:
        """Copy the file of a key to ``destination``. Return whether it was a cache hit."""
        try:
            shutil.copyfile(self.folder / key, destination)
        except FileNotFoundError:
            return False
        return True

    def store(self, key: str, source: Path) -> None:
        """Copy a file into the cache atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.folder / key) as partial:
            shutil.copyfile(source, partial)


def project_cache(stage: str) -> FileCache:
    """Return the cache of a stage, in the top folder of the project.

    ``dvc exp run --temp`` and ``--queue`` run in copies of the project below ``.dvc``. They use the
    cache of the original project.
    """
    here = Path.cwd()
    originals = [folder.parent for folder in (here, *here.parents) if folder.name == ".dvc"]
    top = originals[0] if originals else here
    return FileCache(top / CACHE_FOLDER / stage)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_key(*parts: object) -> str:
    """Return the SHA-256 of the ``repr`` of all parts, in hexadecimal."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
