"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

from fishdvc.storage.lock import run_lock, try_lock
from tests.small_project import TOP

HOLD = """
import sys
from pathlib import Path
from fishdvc.storage.lock import run_lock
with run_lock(Path(sys.argv[1]), purpose="a test") as lock:
    print("locked, waited" if lock.waited else "locked", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the lock until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=TOP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def test_a_second_process_says_that_it_waits_and_continues_after_the_first(tmp_path: Path) -> None:
    path = tmp_path / "locks/key.lock"
    with run_lock(path, purpose="a test") as lock:
        assert not lock.waited
        assert not lock.others_wait()
        second = hold(path)
        assert line(second) == "waiting for another run: a test"
        assert lock.others_wait()
        assert second.poll() is None
    assert line(second) == "locked, waited"
    second.communicate(timeout=30)
    assert second.returncode == 0
    assert [file.name for file in path.parent.iterdir()] == ["key.lock"]


def test_a_killed_process_frees_its_lock_and_waits_no_more(tmp_path: Path) -> None:
    path = tmp_path / "key.lock"
    first = hold(path)
    assert line(first) == "locked"
    assert try_lock(path) is None
    waiting = hold(path)
    assert line(waiting).startswith("waiting")
    for process in (waiting, first):
        process.kill()
        process.communicate(timeout=30)
    with run_lock(path, purpose="a test") as lock:
        assert not lock.waited
        assert not lock.others_wait()


def test_locks_of_different_keys_are_independent(tmp_path: Path) -> None:
    with run_lock(tmp_path / "a", purpose=""), run_lock(tmp_path / "b", purpose="") as lock:
        assert not lock.waited
