"""Listing of an output: only regular files, and no folder is left out in silence."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from fishdvc.errors import DatasetError
from fishdvc.storage.folders import list_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.lab", "a/1.lab", "a/1.flac", "top.lab"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_with_the_suffix_are_listed_in_order(folder: Path) -> None:
    (folder / "linked.lab").symlink_to(folder / "a/1.lab")
    (folder / "folder.lab").mkdir()
    names = ["a/1.lab", "b/2.lab", "linked.lab", "top.lab"]
    assert list_files(folder, ".lab") == [folder / name for name in names]


@pytest.mark.parametrize("kind", ["named pipe", "broken link"])
def test_what_is_no_file_is_an_error(kind: str, folder: Path) -> None:
    if kind == "named pipe":
        os.mkfifo(folder / "a/2.lab")
    else:
        (folder / "a/2.lab").symlink_to("nothing")
    with pytest.raises(DatasetError, match=r"a/2\.lab: not a file; remove it"):
        list_files(folder, ".lab")
    assert list_files(folder, ".flac") == [folder / "a/1.flac"]


def test_a_folder_that_cannot_be_read_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    # Permissions do not keep root from reading a folder.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError) as caught:
        list_files(folder, ".lab")
    assert caught.value.filename == str(folder / "a")


def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_files(tmp_path / "no")
    with pytest.raises(DatasetError, match=r"no \.lab in it; run the stage that writes it again"):
        list_files(tmp_path, ".lab")
