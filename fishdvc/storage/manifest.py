"""Manifests: lists of files with their sizes and hashes, which show damaged or missing files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from fishdvc.storage.atomic import write_text
from fishdvc.storage.cache import Entry, content_hash
from fishdvc.storage.small_files import read_small_file

MANIFEST = "manifest"
"""Name of the manifest in an output of many files.

A stage that reads such an output has its manifest as DVC dependency, because DVC looks at each file
of a dependency eight times per run. The name has no suffix, so it is never the name of a clip."""
MAX_BYTES = 2**28
"""The entries of two million clips."""
Entries = Mapping[str, Entry]
"""Sizes and hashes of files, by relative path."""


def write_manifest(
    path: Path, top: Path, files: Iterable[Path], *, known: Entries | None = None
) -> Entries:
    """Write the sizes and hashes of files atomically, after the files themselves.

    Args:
        path: The manifest to write.
        top: Folder that contains the files.
        files: Existing files below ``top``, in any order.
        known: Entries of files that have not changed since. They are not read.

    Returns:
        The entries.
    """
    known = known or {}
    entries = {}
    for name in sorted(file.relative_to(top).as_posix() for file in files):
        file = top / name
        entries[name] = known.get(name) or (file.stat().st_size, content_hash(file))
    write_text(path, json.dumps(entries, indent=0) + "\n")
    return entries


def manifest_problem(path: Path, top: Path) -> str | None:
    """Return the first file that differs from a manifest and how, or None if all are whole.

    Args:
        path: The manifest. If it is missing or damaged, that is the problem.
        top: Folder that contains the files.
    """
    try:
        entries = json.loads(read_small_file(path, max_bytes=MAX_BYTES))
        for name, (size, sha256) in entries.items():
            file = top / name
            if file.stat().st_size != size or content_hash(file) != sha256:
                return f"{file}: changed or cut"
    except FileNotFoundError as error:
        return f"{error.filename}: missing"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"{path}: cannot be read: {error}"
    return None
