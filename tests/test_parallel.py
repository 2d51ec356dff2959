"""Parallel maps give the results of a plain loop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from fishdvc import parallel
from fishdvc.errors import FishdvcError
from fishdvc.parallel import map_in_processes, map_in_threads, num_workers


def test_0_workers_means_one_per_usable_core() -> None:
    assert num_workers(3) == 3
    assert num_workers(0) == len(os.sched_getaffinity(0))


def _abs_and_process_id(item: int) -> tuple[int, int]:
    return abs(item), os.getpid()


def test_many_items_are_processed_in_order_by_other_processes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = list(range(-40, 0))
    results = list(map_in_processes(_abs_and_process_id, items, workers=2, label="x"))
    assert [result for result, _ in results] == [abs(item) for item in items]
    assert os.getpid() not in {process_id for _, process_id in results}
    # Without a terminal there is no progress bar.
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("num_items", "workers"), [(0, 8), (2, 8), (40, 1)])
def test_few_items_or_one_worker_need_no_process(
    num_items: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", None)
    items = [-item for item in range(num_items)]
    assert list(map_in_processes(abs, items, workers=workers, label="x")) == list(range(num_items))


class CountedItems(Sequence[int]):
    """Numbers, and how many of them were read."""

    num_read = 0

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        if index >= len(self):
            raise IndexError
        self.num_read += 1
        return index


def test_threads_do_not_run_far_ahead_of_the_results_that_are_used() -> None:
    items = CountedItems()
    results = map_in_threads(abs, items, workers=3, label="x")
    for num_used, result in enumerate(results):
        assert result == num_used
        assert items.num_read <= num_used + 7
    assert items.num_read == 100


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_results_of_threads_are_in_order(workers: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    results = map_in_threads(slow, range(20), workers=workers, label="x")
    assert list(results) == [i * i for i in range(20)]


def _kill_itself(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_an_error() -> None:
    with pytest.raises(FishdvcError, match=r"x: the system ended a worker.* machine\.workers"):
        list(map_in_processes(_kill_itself, range(40), workers=2, label="x"))


MANY = """
import sys, time
from fishdvc.parallel import map_in_processes
from stages.command import run_stage
from tests.test_parallel import slow

def main():
    list(map_in_processes(slow, range(1000), workers=2, label="x"))

if __name__ == "__main__":
    run_stage(main)
"""


def slow(item: int) -> int:
    if item == 0:
        print("started", flush=True)
    time.sleep(0.2)
    return item


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(MANY)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "many.py"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)  # As a terminal does.
    else:
        parent.send_signal(number)
    printed, errors = parent.communicate(timeout=60)
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert printed == ""
    if number == signal.SIGKILL:
        # Python's own process for semaphores may print a warning.
        assert parent.returncode == -number
    else:
        assert (parent.returncode, errors) == (128 + number, f"stopped by {number.name}\n")
