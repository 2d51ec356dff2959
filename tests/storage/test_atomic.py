"""Atomic writes of files and folders."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fishdvc.storage.atomic import (
    atomic_file,
    atomic_folder,
    delete_folder,
    sweep,
    write_metrics,
    write_text,
)
from tests.small_project import TOP


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


def test_an_output_of_the_other_kind_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotADirectoryError), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(IsADirectoryError), atomic_file(tmp_path / "folder"):
        pass
    assert tree(tmp_path) == {"file", "folder"}


def write_and_die(out: Path, failing: str) -> None:
    """Write an output in another process, and kill the process at an operation."""
    script = f"""
import os, signal, sys
from pathlib import Path
from fishdvc.storage.atomic import atomic_file, atomic_folder

calls = 0
def kill(*_):
    global calls
    calls += 1
    if calls == {failing[-1]}:
        os.kill(os.getpid(), signal.SIGKILL)

out = Path(sys.argv[1])
original = Path.{failing[:-1]}
def patched(self, *args):
    kill()
    return original(self, *args)
with (atomic_file if out.suffix else atomic_folder)(out) as partial:
    (partial if out.suffix else partial / "new").write_text("new")
    Path.{failing[:-1]} = patched
"""
    died = subprocess.run([sys.executable, "-c", script, str(out)], cwd=TOP, check=False)
    assert died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("failing", ["rename1", "rename2", "glob1"])
def test_a_killed_process_leaves_the_old_or_the_new_folder(failing: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").touch()
    write_and_die(folder, failing)
    sweep(tmp_path)
    assert tree(tmp_path) == {"out", "out/new" if failing == "glob1" else "out/old"}


@pytest.mark.parametrize("failing", ["replace1", "glob1"])
def test_a_killed_process_leaves_the_old_or_the_new_file(failing: str, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    write_and_die(path, failing)
    assert path.read_text() == ("new" if failing == "glob1" else "old")
    assert len(tree(tmp_path)) > 1
    write_text(tmp_path / "other.txt", "")
    assert tree(tmp_path) == {"out.txt", "other.txt"}


def test_a_write_does_not_disturb_another_write_beside_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as first, atomic_folder(tmp_path / "a") as second:
        (first / "first").touch()
        (second / "second").touch()
        write_text(tmp_path / "b", "")
        sweep(tmp_path)
    assert tree(tmp_path) == {"a", "a/first", "b"}


def _write_many(number: int, folder: Path) -> None:
    for _ in range(10):
        with atomic_folder(folder / "out") as partial:
            for name in ("x", "y"):
                (partial / name).write_text(str(number))
        write_text(folder / "file.txt", str(number) * 1000)


def test_processes_that_write_the_same_outputs_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(i, tmp_path)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert tree(tmp_path) == {"out", "out/x", "out/y", "file.txt"}
    assert len({(tmp_path / "out" / name).read_text() for name in ("x", "y")}) == 1
    assert len(set((tmp_path / "file.txt").read_text())) == 1


def test_the_longest_file_names_can_be_written(tmp_path: Path) -> None:
    name = "n" * 255
    write_text(tmp_path / name, "file")
    with atomic_folder(tmp_path / name[1:]) as partial:
        (partial / name).touch()
    assert tree(tmp_path) == {name, name[1:], f"{name[1:]}/{name}"}


def test_a_link_to_a_folder_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target/mine").touch()
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "new").touch()
    assert tree(tmp_path) == {"out", "out/new", "target", "target/mine"}


def test_a_folder_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    delete_folder(tmp_path / "a")
    assert tree(tmp_path) == set()


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
