"""Read ``.npy`` files without trust in their headers."""

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishdvc.errors import DatasetError

MAX_BYTES = 2**28
"""Size of the codes of about 200 h of speech."""


def read_array(path: Path) -> NDArray[Any]:
    """Read an array.

    No memory is allocated for an array that is larger than its file. Pickles are not loaded.

    Raises:
        FileNotFoundError: The file does not exist.
        DatasetError: The file is not a complete ``.npy`` file, or is larger than 256 MiB.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"{status.st_size} bytes, more than {MAX_BYTES}")
        # Path.resolve, which NumPy calls for a Path, takes a third of the time for a small file.
        return np.array(np.lib.format.open_memmap(os.fspath(path), mode="r"))
    except FileNotFoundError:
        raise
    # A damaged header raises ValueError, EOFError, TokenError, SyntaxError, MemoryError or others.
    except Exception as error:
        raise DatasetError(f"{path}: not a complete .npy file: {error}") from error
