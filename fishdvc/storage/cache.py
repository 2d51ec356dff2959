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

CACHE_FOLDER = ".fishdvc_cache"
Entry = tuple[int, str]
"""Size in bytes and SHA-256 of a file."""


class FileCache:
    """Files by key, each in ``<first 2 characters of the key>/<key>.<SHA-256 of the content>``.

    Files are copied, because DVC replaces a hard link in an output by a copy after each run.

    Args:
        folder: Folder of the files. Created by the first ``store``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, key: str, destination: Path) -> Entry | None:
        """Copy the file of a key to ``destination``.

        A file that cannot be read, or whose content differs from its hash, is a miss and is
        deleted.

        Returns:
            Size and hash of the file, or None after a miss.
        """
        for cached in self._files(key):
            sha256 = cached.suffix.removeprefix(".")
            content = _whole_content(cached, sha256)
            if content is not None:
                destination.write_bytes(content)
                return len(content), sha256
            cached.unlink(missing_ok=True)
        return None

    def store(self, key: str, source: Path) -> None:
        """Copy a complete file into the cache.

        The copy is not atomic, because ``fetch`` compares it with its hash.
        """
        cached = self._subfolder(key) / f"{key}.{content_hash(source)}"
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, cached)

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


def _whole_content(cached: Path, sha256: str) -> bytes | None:
    try:
        content = cached.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


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
    digest = hashlib.sha256()
    # hashlib.file_digest takes nearly twice as long for the file of a clip.
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(2**18):
            digest.update(chunk)
    return digest.hexdigest()


def combined_key(*parts: object) -> str:
    """Return the SHA-256 of the ``repr`` of all parts, in hexadecimal."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
