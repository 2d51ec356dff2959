"""Parallel maps give the results of a plain loop."""

import os
import threading
import time

import pytest

from fishdvc import parallel
from fishdvc.parallel import map_ahead, map_files, num_workers, progress


def test_0_workers_means_one_per_usable_core() -> None:
    assert num_workers(3) == 3
    assert num_workers(0) == len(os.sched_getaffinity(0))


def test_many_items_are_processed_in_order_by_other_processes() -> None:
    items = list(range(-40, 0))
    results = list(map_files(_abs_and_process_id, items, workers=2, label="x"))
    assert [result for result, _ in results] == [abs(item) for item in items]
    assert os.getpid() not in {process_id for _, process_id in results}


def _abs_and_process_id(item: int) -> tuple[int, int]:
    return abs(item), os.getpid()


@pytest.mark.parametrize(("num_items", "workers"), [(0, 8), (2, 8), (40, 1)])
def test_few_items_or_one_worker_need_no_process(
    num_items: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", None)
    items = [-item for item in range(num_items)]
    assert list(map_files(abs, items, workers=workers, label="x")) == list(range(num_items))


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_results_of_threads_are_in_order(threads: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(map_ahead(slow, iter(range(20)), threads=threads)) == [i * i for i in range(20)]


def test_at_most_four_results_per_thread_are_pending() -> None:
    started = 0
    lock = threading.Lock()

    def count(item: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return item

    results = map_ahead(count, range(100), threads=4)
    for taken in range(1, 6):
        next(results)
        time.sleep(0.01)
        assert started <= taken + 4 * 4


def test_no_progress_bar_is_drawn_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2], total=2, label="x")) == [1, 2]
    assert capsys.readouterr() == ("", "")
