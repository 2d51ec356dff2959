"""Whether what is about to be written fits on the disk. Starts without torch."""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from fishdvc.errors import CheckpointError


def check_disk_space(writes: Iterable[tuple[Path, int]]) -> None:
    """Refuse to begin what cannot end.

    Args:
        writes: Folders, which need not exist yet, and the bytes that will be written below each.
            Folders on one disk share its free space.

    Raises:
        CheckpointError: A disk has less free space than will be written to it.
    """
    folders, needed = dict[int, Path](), defaultdict[int, int](int)
    for folder, num_bytes in writes:
        place = folder.absolute()
        existing = next(path for path in (place, *place.parents) if path.exists())
        disk = existing.stat().st_dev
        folders.setdefault(disk, existing)
        needed[disk] += num_bytes
    for disk, num_bytes in needed.items():
        free = shutil.disk_usage(folders[disk]).free
        if free < num_bytes:
            raise CheckpointError(
                f"{folders[disk]}: {num_bytes / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are "
                "free; free space, or set HF_HOME to a folder on another disk"
            )
