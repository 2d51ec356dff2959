"""Apply a function to many items in parallel, with a progress bar."""

import multiprocessing
import os
import sys
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


def progress(
    items: Iterable[Item], *, total: int, label: str, unit: str = "clip"
) -> Iterable[Item]:
    """Iterate over items with a progress bar if stderr is a terminal."""
    bar: tqdm[Item] = tqdm(
        items, total=total, desc=label, unit=unit, disable=not sys.stderr.isatty()
    )
    return bar


def map_files(
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
        yield from progress(map(function, items), total=len(items), label=label)
        return
    # A forked process can hang on a lock that another thread of its parent holds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        results = pool.map(function, items, chunksize=8)
        yield from progress(results, total=len(items), label=label)


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, while threads compute the next results.

    At most four results per thread are pending, so memory does not grow with the number of items.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque[Future[Result]]()
        for item in items:
            if len(waiting) == 4 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
