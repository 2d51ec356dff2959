"""What the parts share: the setup, clocks, peak memory and the record of results."""

import gc
import json
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from fishdvc.device import has_bfloat16
from fishdvc.validation import Checked

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where and on what a part runs.

    Attributes:
        device: Device to measure.
        base: Folder of the random base.
        work: Folder of this part, also the current folder.
        tiny: Whether the base is tiny, for a dry run.
        budget_s: Time that the part should take at most.
    """

    device: torch.device
    base: Path
    work: Path
    tiny: bool
    budget_s: float

    @property
    def dtype(self) -> torch.dtype:
        """Type of the model's weights: bfloat16 if the device has it."""
        return torch.bfloat16 if has_bfloat16(self.device) else torch.float32


class Record:
    """Appends one line of JSON for each case to a file."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.device = device

    @contextmanager
    def case(self, name: str) -> Iterator[dict[str, Any]]:
        """Collect the figures of a case in a dict. An exception is recorded and not raised."""
        figures: dict[str, Any] = {}
        try:
            reset_peak(self.device)
            yield figures
        except Exception as error:
            message = (str(error).splitlines() or [""])[0]
            figures["error"] = f"{type(error).__name__}: {message}"
            figures["traceback"] = traceback.format_exc()
        with self.path.open("a") as file:
            file.write(json.dumps({"case": name, **figures}) + "\n")
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def section(name: str, kind: type[Checked], **changes: Any) -> Any:
    """Return a section of the shipped params.yaml with changes."""
    # Read by PyYAML, because ruamel.yaml comes with DVC and may be missing on a GPU machine.
    values = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))[name]
    return kind(**{**values, **changes})


def synchronize(device: torch.device) -> None:
    """Wait for all kernels."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed_s(device: torch.device, run: Callable[[], object]) -> float:
    """Return the wall time of a call and its kernels."""
    synchronize(device)
    start_s = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start_s


def repeat_s(
    device: torch.device, run: Callable[[], object], *, budget_s: float, most: int = 5
) -> list[float]:
    """Return the times of up to ``most`` calls, at least one, that fit into the budget."""
    times_s = [timed_s(device, run)]
    while len(times_s) < most and sum(times_s) + max(times_s) < budget_s:
        times_s.append(timed_s(device, run))
    return times_s


def reset_peak(device: torch.device) -> None:
    """Start to measure the peak memory of the device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float:
    """Return the peak of the tensors on a GPU, or of this process since its start on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
