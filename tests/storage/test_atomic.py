"""Atomic writes of files and folders."""

import os
from pathlib import Path

import pytest

from fishdvc.storage.atomic import atomic_file, atomic_folder, write_metrics, write_text


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_block_that_succeeds_replaces_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").touch()
    with atomic_folder(folder) as partial:
        assert tree(partial) == set()
        (partial / "new").touch()
        assert tree(folder) == {"old"}
    assert tree(tmp_path) == {"out", "out/new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_does_not_change_the_folder(
    error: type[BaseException], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(error), atomic_folder(folder) as partial:  # noqa: PT012
        (partial / "new").touch()
        raise error
    assert tree(tmp_path) == {"out", "out/old"}


def test_the_partial_folder_of_a_killed_run_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "a/.out.partial").mkdir(parents=True)
    (tmp_path / "a/.out.partial/half").touch()
    with atomic_folder(tmp_path / "a/out") as partial:
        (partial / "new").touch()
    assert tree(tmp_path) == {"a", "a/out", "a/out/new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_does_not_change_the_file(
    error: type[BaseException], tmp_path: Path
) -> None:
    write_text(tmp_path / "out.txt", "old")
    with pytest.raises(error), atomic_file(tmp_path / "out.txt") as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert (tmp_path / "out.txt").read_text() == "old"
    assert tree(tmp_path) == {"out.txt"}


def test_text_replaces_the_file_and_not_the_content_of_its_hard_links(tmp_path: Path) -> None:
    path = tmp_path / "a/report.txt"
    write_text(path, "old\n")
    os.link(path, tmp_path / "link")
    write_text(path, "ça\n")
    assert path.read_bytes() == "ça\n".encode()
    assert (tmp_path / "link").read_text() == "old\n"
    assert tree(tmp_path) == {"a", "a/report.txt", "link"}


def test_metrics_keep_their_order(tmp_path: Path) -> None:
    write_metrics(tmp_path / "m.json", {"z": 1, "a": 0.5})
    assert (tmp_path / "m.json").read_text() == '{\n  "z": 1,\n  "a": 0.5\n}\n'
