"""Apply a function to many clips in parallel, with a progress bar."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from fishdvc.errors import FishdvcError

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_ITEMS_PER_PROCESS = 16
"""Minimum number of items per process, because a process takes about a second to start."""


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

    Raises:
        FishdvcError: The system ended a process.
    """
    processes = min(num_workers(workers), len(items) // MIN_ITEMS_PER_PROCESS)
    if processes <= 1:
        yield from _progress(map(function, items), len(items), label)
        return
    # A forked process can hang on a lock that another thread of its parent holds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        others = set(multiprocessing.active_children())
        with _ignored_interrupts():
            results = pool.map(function, items, chunksize=8)
        try:
            yield from _progress(results, len(items), label)
        except BrokenProcessPool:
            raise FishdvcError(
                f"{label}: the system ended a worker process, perhaps because memory ran out; set "
                "machine.workers in params.yaml to a smaller number"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    label: str,
    total: int | None = None,
) -> Iterator[Result]:
    """Like ``map_in_processes``, with threads.

    At most ``2 * num_workers(workers)`` results wait to be used, so that memory does not grow with
    the number of items. If ``items`` is an iterator, it is given with its length ``total``. This
    thread computes its next item while the others work.
    """
    if total is None:
        items = items if isinstance(items, Sequence) else list(items)
        total = len(items)
    results = _map_in_threads(function, items, num_workers(workers))
    yield from _progress(results, total, label)


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


def _end_with_parent() -> None:
    """Let a worker process end when its parent ends, even if the parent is killed."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block and in processes that it starts. Their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _progress(results: Iterable[Result], total: int, label: str) -> Iterable[Result]:
    """Show a progress bar if stderr is a terminal."""
    bar: tqdm[Result] = tqdm(results, total=total, desc=label, disable=None)
    return bar
