"""Cache of single files, so that a rerun of a stage processes only new or changed clips.

DVC empties the outputs of a stage before a rerun. The cache is outside the outputs, and its key is
a hash of all inputs of a file. The cache folder can be deleted at any time.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fishdvc.storage.atomic import atomic_file

CACHE_FOLDER = ".fishdvc_cache"


class FileCache:
    """Files by key, each in ``<first 2 characters of the key>/<key>.<SHA-256 of the content>``.

    Files are hard links if the file system supports them. So an output that is changed in place
    changes the cached file too. Its hash then differs from its name, and it is not used again.

    Args:
        folder: Folder of the files. Created by the first ``store``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, key: str, destination: Path) -> bool:
        """Link or copy the file of a key to ``destination``. Return whether it was a cache hit.

        A file whose content differs from its hash is a miss and is deleted.
        """
        for cached in self._files(key):
            _link_or_copy(cached, destination)
            if content_hash(destination) == cached.suffix.removeprefix("."):
                return True
            destination.unlink()
            cached.unlink(missing_ok=True)
        return False

    def store(self, key: str, source: Path) -> None:
        """Link or copy a complete file into the cache, atomically."""
        cached = self._subfolder(key) / f"{key}.{content_hash(source)}"
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            cached.hardlink_to(source)
        except FileExistsError:
            return
        except OSError:
            with atomic_file(cached) as partial:
                shutil.copyfile(source, partial)

    def content(self, key: str, write: Callable[[Path], object]) -> bytes:
        """Return the content of the file of a key. After a miss, ``write`` writes it to a path."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / key
            if not self.fetch(key, path):
                write(path)
                self.store(key, path)
            return path.read_bytes()

    def _files(self, key: str) -> list[Path]:
        folder = self._subfolder(key)
        # Path.glob would compile a pattern for each key.
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208
        return [folder / name for name in names if name.startswith(f"{key}.")]

    def _subfolder(self, key: str) -> Path:
        return self.folder / key[:2]


def _link_or_copy(source: Path, destination: Path) -> None:
    try:
        destination.hardlink_to(source)
    except FileExistsError:
        # A copy into the existing file would change the content of its other hard links.
        destination.unlink()
        _link_or_copy(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


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
