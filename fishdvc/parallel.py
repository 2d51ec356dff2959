"""Do the same to many files, in parallel, under a progress bar. Starts without torch."""

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
"""A process takes about a second to start; fewer files are done sooner without it."""


def num_workers(asked: int) -> int:
    """Number of processes for a parameter ``workers``: 0 means one for each core it may use."""
    if asked:
        return asked
    # Of a container's or a batch job's cores, only some may be ours; macOS cannot tell.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def progress(
    items: Iterable[Item], *, total: int, label: str, unit: str = "clip"
) -> Iterable[Item]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    bar: tqdm[Item] = tqdm(
        items, total=total, desc=label, unit=unit, disable=not sys.stderr.isatty()
    )
    return bar


def map_files(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, label: str
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in their order.

    Args:
        function: Picklable, such as a module's function or a ``functools.partial`` of one.
        items: What to work on.
        workers: Processes at most; 0 means one for each core.
        label: Words before the progress bar.
    """
    processes = min(num_workers(workers), len(items) // ITEMS_WORTH_A_PROCESS)
    if processes <= 1:
        yield from progress(map(function, items), total=len(items), label=label)
        return
    # A forked child may hang on a lock that another thread of its parent held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        results = pool.map(function, items, chunksize=8)
        yield from progress(results, total=len(items), label=label)


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in order while threads work on the next items.

    At most four results a thread wait at any time: memory does not grow with the number of items,
    and one slow item does not hold up the others.
    """
    if threads < 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque[Future[Result]]()
        for item in items:
            if len(waiting) == 4 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
