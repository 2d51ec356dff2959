"""Small files of users."""

import os
import tracemalloc
from pathlib import Path

import pytest

from fishdvc.storage.small_files import read_small_file


def test_a_file_of_at_most_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_small_file(path, max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="expected at most 4 bytes, got more"):
        read_small_file(path, max_bytes=4)


def test_no_memory_is_used_for_the_rest_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 10**9)
    tracemalloc.start()
    with pytest.raises(OSError, match="expected at most 1000 bytes"):
        read_small_file(path, max_bytes=1000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10**6


def test_a_device_or_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(OSError, match="expected a file, got a device, pipe or socket"):
            read_small_file(path, max_bytes=5)


def test_a_git_lfs_pointer_is_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    with pytest.raises(OSError, match="a Git LFS pointer in place of the file; run `git lfs pull`"):
        read_small_file(path, max_bytes=1000)
