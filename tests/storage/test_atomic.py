"""Output is whole or absent."""

import json
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


def test_folders_above_are_made(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a/b/out"):
        pass
    assert tree(tmp_path) == {"a", "a/b", "a/b/out"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_a_block_that_fails_leaves_everything_as_it_was(
    error: type[BaseException], existed: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    if existed:
        folder.mkdir()
        (folder / "old").touch()
    before = tree(tmp_path)
    with pytest.raises(error), atomic_folder(folder) as partial:  # noqa: PT012
        (partial / "new").touch()
        raise error
    assert tree(tmp_path) == before


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial/half").touch()
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "new").touch()
    assert tree(tmp_path) == {"out", "out/new"}


def test_text_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a/report.txt"
    write_text(path, "ça\n")
    write_text(path, "va\n")
    assert path.read_bytes() == b"va\n"
    assert tree(tmp_path / "a") == {"report.txt"}


def test_a_linked_file_is_replaced_not_written_through(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("old")
    os.link(kept, tmp_path / "out")
    write_text(tmp_path / "out", "new")
    assert kept.read_text() == "old"


def test_metrics_are_json_in_the_order_given(tmp_path: Path) -> None:
    metrics = {"z": 1, "a": 0.5, "m": "text"}
    write_metrics(tmp_path / "m.json", metrics)
    text = (tmp_path / "m.json").read_text()
    assert list(json.loads(text).items()) == list(metrics.items())
    assert text.endswith("}\n")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_is_replaced_whole_or_left_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    with atomic_file(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert tree(tmp_path) == {"out.txt"}
