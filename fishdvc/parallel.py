"""Apply a function to many clips in parallel, with a progress bar."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_WORTH_A_PROCESS = 16
"""Items per process at least, because a process takes about a second to start."""


def num_workers(asked: int) -> int:
    """Return ``asked``, or the number of usable cores if it is 0."""
    if asked:
        return asked
    # A container or a batch job may use only some cores. macOS has no such function.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, label: str
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, computed by several processes.

    Args:
        function: A picklable function.
        items: Picklable arguments of the function.
        workers: Maximum number of processes. 0: one per core.
        label: Label of the progress bar.
    """
    processes = min(num_workers(workers), len(items) // ITEMS_WORTH_A_PROCESS)
    if processes <= 1:
        yield from _progress(map(function, items), len(items), label)
        return
    # A forked process can hang on a lock that another thread of its parent holds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from _progress(pool.map(function, items, chunksize=8), len(items), label)


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, label: str
) -> Iterator[Result]:
    """Like ``map_in_processes``, with threads.

    At most ``2 * num_workers(workers)`` results wait to be used, so that memory does not grow with
    the number of items.
    """
    results = _map_in_threads(function, items, num_workers(workers))
    yield from _progress(results, len(items), label)


def _map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int
) -> Iterator[Result]:
    waiting = deque[Future[Result]]()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                if len(waiting) == 2 * num_threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After an error, items that have not started are left out.
            pool.shutdown(cancel_futures=True)


def _progress(results: Iterable[Result], total: int, label: str) -> Iterable[Result]:
    """Show a progress bar if stderr is a terminal."""
    bar: tqdm[Result] = tqdm(results, total=total, desc=label, disable=None)
    return bar
