"""List the files of an output of an earlier stage."""

import os
from pathlib import Path

from fishdvc.errors import DatasetError


def list_files(folder: Path, suffix: str = "") -> list[Path]:
    """Return the files below a folder whose names end with a suffix, sorted.

    Raises:
        DatasetError: There is no such file, or something with such a name is no regular file.
        OSError: A folder cannot be read.
    """

    def stop(error: OSError) -> None:
        raise error

    paths = [
        Path(top, name)
        for top, _, names in os.walk(folder, onerror=stop)
        for name in names
        if name.endswith(suffix)
    ]
    todo = "run the stage that writes it again"
    if not paths:
        raise DatasetError(f"{folder}: no {suffix or 'files'} in it; {todo}")
    for path in paths:
        if not path.is_file():
            raise DatasetError(f"{path}: not a file; remove it and {todo}")
    return sorted(paths)
