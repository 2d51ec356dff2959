"""Share a stage's files among processes, those of one machine or of several, by Lightning Fabric.

Each process, a *rank*, makes its own files into the cache that all share; then the first one alone
goes on as if it had found them there. Knows neither audio nor parameters. Starts without torch:
one process alone needs none of this.
"""

import heapq
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar, cast

from fishdvc.errors import FishdvcError, ParamsError
from fishdvc.files.parallel import num_workers

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.parallel import ParallelStrategy

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)
"""Of a rank that is done for the others. One that dies is noticed at once, not by this."""

LAUNCHERS_VARIABLES = ("LOCAL_RANK", "SLURM_", "LSB_", "OMPI_", "PMI_", "KUBERNETES_", "TPU_")
"""Beginnings of what stands in the environment of processes that somebody else may have started."""


class RankError(FishdvcError):
    """One of several processes died."""


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One of the processes that share a stage's files.

    Attributes:
        index: Which, from 0; on all machines together.
        size: How many there are.
        num_local: How many of them are on this machine.
        device: What it computes on, as torch names it: on GPUs each rank has its own.
    """

    index: int
    size: int
    num_local: int
    device: str

    def share(self, items: Sequence[Item], costs: Sequence[float]) -> list[Item]:
        """Return this rank's part of the files, in their order; see :func:`share_out`."""
        return [items[i] for i in share_out(costs, self.size)[self.index]]

    def workers(self, asked: int) -> int:
        """Number of workers for a parameter ``workers``: 0 means all, this machine's cores."""
        return asked or max(1, num_workers(0) // self.num_local)


def share_out(costs: Sequence[float], num_ranks: int) -> list[list[int]]:
    """Share out work so that no rank has much more than another.

    The longest first, each to whoever has least so far (Graham, Bounds on multiprocessing timing
    anomalies, 1969): the largest sum is at most 4/3 of the best possible.

    Args:
        costs: Of each piece of work, in seconds of audio or whatever it grows with.
        num_ranks: How many share.

    Returns:
        For each rank the places of its pieces, rising; every rank computes the same.
    """
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    # Of equally loaded ranks, the one with fewer pieces: those that cost nothing are shared too.
    loads = [(0.0, 0, rank) for rank in range(num_ranks)]
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, count, rank = loads[0]
        shares[rank].append(i)
        heapq.heapreplace(loads, (load + costs[i], count + 1, rank))
    return [sorted(share) for share in shares]


def run_on_ranks(
    stage: str,
    work: Callable[[Rank], int],
    *,
    accelerator: str,
    devices: int,
    num_nodes: int,
) -> int | None:
    """Let several processes work, and return on the first one when all are done.

    Where nobody else has started the processes (torchrun and SLURM do), this one starts those of
    this machine, with its own command line, and looks after them. Lightning's launcher would do so
    too, but when a process dies it kills the stage without a word.

    Args:
        stage: Its name, for messages.
        work: What each rank does; it returns how many files it made.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: Ranks on each machine.
        num_nodes: Machines.

    Returns:
        How many files all of them made, on the first rank; None on others, and where this process
        only looked after its ranks: then the stage is over, or goes on elsewhere.

    Raises:
        RankError: A process on this machine died.
        ParamsError: It was started as one of a number of processes that the parameters do not give.
    """
    # Lightning takes seconds to import, so not before there is something to ask it.
    if not any(name.startswith(LAUNCHERS_VARIABLES) for name in os.environ):
        _look_after_ranks(stage, devices, num_nodes)
        return None
    fabric = _make_fabric(accelerator, devices, num_nodes)
    environment = cast("ParallelStrategy", fabric.strategy).cluster_environment
    if environment is None or not environment.creates_processes_externally:
        _look_after_ranks(stage, devices, num_nodes)
        return None
    return _work_as_rank(stage, work, fabric, devices)


def check_alone(stage: str) -> None:
    """Refuse to run as one of several processes that would all do the same.

    Raises:
        ParamsError: It was started so, as by torchrun.
    """
    started = os.environ.get("WORLD_SIZE", "1")
    if started not in ("", "1"):
        raise ParamsError(
            f"{stage}: started as one of {started} processes (WORLD_SIZE), but {stage}.devices and "
            f"{stage}.num_nodes are 1: set them, or start it once"
        )


def _make_fabric(accelerator: str, devices: int, num_nodes: int) -> "Fabric":
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    # Who talks depends on which of Lightning's parts was imported last.
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # One number is exchanged, whatever the device.
    strategy = DDPStrategy(process_group_backend="gloo")
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy)


def _work_as_rank(
    stage: str, work: Callable[[Rank], int], fabric: "Fabric", devices: int
) -> int | None:
    from torch import distributed, tensor

    try:
        fabric.launch()
    except ValueError as error:  # of numbers that do not fit those of torchrun or SLURM
        raise ParamsError(f"{stage}.devices, {stage}.num_nodes: {error}") from error
    rank = Rank(
        index=fabric.global_rank,
        size=fabric.world_size,
        num_local=devices,
        device=str(fabric.device),
    )
    # All are here; but who is done first may wait for hours.
    patient = distributed.new_group(timeout=LONGEST_WAIT)
    num_made = tensor(work(rank))
    try:
        distributed.all_reduce(num_made, group=patient)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise RankError(f"{stage}: another process died before it was done ({error})") from error
    distributed.destroy_process_group()
    return int(num_made) if rank.index == 0 else None


def _look_after_ranks(stage: str, devices: int, num_nodes: int) -> None:
    """Run this command line once for each rank of this machine, until all are done or one dies."""
    node = int(os.environ.get("NODE_RANK", "0"))
    if num_nodes > 1 and not {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK"} <= os.environ.keys():
        raise ParamsError(
            f"{stage}.num_nodes: {num_nodes} machines were asked for, but nothing says which this "
            "is; start it by torchrun or srun (docs/several-gpus.md), or set it to 1"
        )
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        **os.environ,
        "NODE_RANK": str(node),
        "WORLD_SIZE": str(devices * num_nodes),
    }
    ended: SimpleQueue[tuple[int, int]] = SimpleQueue()
    processes = [
        # The interpreter's own options and the module's name are in it too.
        subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=common | {"LOCAL_RANK": str(i)})
        for i in range(devices)
    ]
    try:
        for i, process in enumerate(processes):
            threading.Thread(
                target=lambda i, process: ended.put((i, process.wait())),
                args=(i, process),
                daemon=True,
            ).start()
        for _ in processes:
            i, code = ended.get()
            if code:
                how = f"exit code {code}; what it said stands above"
                if code < 0:
                    how = f"signal {-code} ({signal.Signals(-code).name})"
                    how += ", most often for want of memory" if -code == signal.SIGKILL else ""
                raise RankError(
                    f"{stage}: process {node * devices + i} of {devices * num_nodes} died: {how}; "
                    "the others were stopped and nothing was written"
                )
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
