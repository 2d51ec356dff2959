"""Parallel work gives what work one after another gives."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
from fishdvc.files import parallel

from fishdvc.parallel import map_ahead, map_files, num_workers, progress


def test_0_workers_are_one_for_each_core_that_may_be_used() -> None:
    assert num_workers(3) == 3
    assert num_workers(0) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("workers", [1, 2])
def test_files_come_in_their_order(workers: int) -> None:
    items = list(range(-40, 0))
    assert list(map_files(abs, items, workers=workers, label="x")) == [abs(i) for i in items]


def test_processes_are_other_processes() -> None:
    found = set(map_files(_process_id, range(64), workers=2, label="x"))
    assert os.getpid() not in found


def _process_id(_item: int) -> int:
    return os.getpid()


def test_few_files_are_done_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", None)
    assert list(map_files(abs, [-1, -2], workers=8, label="x")) == [1, 2]
    assert list(map_files(abs, [], workers=8, label="x")) == []


def test_an_error_in_a_process_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_files(_inverse, range(64), workers=2, label="x"))


def _inverse(item: int) -> float:
    return 1 / item


@pytest.mark.parametrize("threads", [0, 1, 3, 50])
def test_results_ahead_come_in_their_order(threads: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(map_ahead(slow, iter(range(20)), threads=threads)) == [i * i for i in range(20)]


def test_no_more_than_asked_is_worked_on_ahead() -> None:
    started = 0
    lock = threading.Lock()

    def count(item: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return item

    results: Iterator[int] = map_ahead(count, range(100), threads=4)
    for taken in range(1, 6):
        next(results)
        time.sleep(0.01)
        assert started <= taken + 4 * 4


def test_an_error_ahead_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(_inverse, [2, 1, 0, 1], threads=2))


def test_no_bar_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2], total=2, label="x")) == [1, 2]
    assert capsys.readouterr() == ("", "")
