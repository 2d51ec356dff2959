"""The list of the adapters of a run with their validation losses, ``checkpoints.json``.

The first entry is the base without an adapter, with ``"folder": null``.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fishdvc.errors import CheckpointError
from fishdvc.storage.atomic import write_text
from fishdvc.storage.small_files import read_small_file
from fishdvc.validation import shown

CHECKPOINT_LIST = "checkpoints.json"
MAX_BYTES = 10**7


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One entry of the list.

    Attributes:
        step: Optimizer steps taken.
        val_loss: Mean loss on the held-out clips.
        folder: Name of the adapter's folder; None for the base.
    """

    step: int
    val_loss: float
    folder: str | None


_LIST = TypeAdapter(list[Checkpoint])


def folder_name(step: int) -> str | None:
    """Return the name of the folder of an adapter; None for step 0, the base."""
    return f"step_{step:09d}" if step else None


def write_checkpoints(folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Write the list atomically into the folder of the adapters."""
    entries = [asdict(checkpoint) for checkpoint in checkpoints]
    write_text(folder / CHECKPOINT_LIST, json.dumps(entries, indent=2) + "\n")


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Read the list, in the order of steps.

    Raises:
        CheckpointError: The list is missing or is not as ``train_lora`` writes it.
    """
    path = folder / CHECKPOINT_LIST
    try:
        checkpoints = _LIST.validate_json(read_small_file(path, max_bytes=MAX_BYTES), strict=True)
        problem = _problem(checkpoints)
    except OSError as error:
        problem = str(error)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{place}: {first['msg']}, got {shown(first['input'])}".removeprefix(": ")
    if problem:
        raise CheckpointError(
            f"{path}: expected the list that train_lora writes: {problem}; run train_lora again"
        )
    return checkpoints


def _problem(checkpoints: Sequence[Checkpoint]) -> str | None:
    steps = [checkpoint.step for checkpoint in checkpoints]
    if steps[:1] != [0] or steps != sorted(set(steps)):
        return f"the steps must begin with 0 and increase, got {shown(steps)}"
    for entry in checkpoints:
        if entry.folder != (name := folder_name(entry.step)):
            return f"the folder of step {entry.step} must be {name}, got {shown(entry.folder)}"
        if not math.isfinite(entry.val_loss):
            return f"the loss of step {entry.step} must be finite, got {entry.val_loss}"
    return None


def choose_checkpoint(
    checkpoints: Sequence[Checkpoint], choice: str, *, tolerance: float
) -> Checkpoint:
    """Choose an adapter. The base is never chosen.

    Args:
        checkpoints: The list of a run.
        choice: ``last``, ``best_val_loss``, ``earliest_within_tolerance`` (the first whose loss is
            at most ``1 + tolerance`` times the best), or a folder's name, ``step_000000010``.
        tolerance: Tolerance for ``earliest_within_tolerance``.

    Raises:
        CheckpointError: There is no such adapter.
    """
    adapters = [checkpoint for checkpoint in checkpoints if checkpoint.folder]
    if not adapters:
        raise CheckpointError("no adapter was saved; run train_lora for more steps")
    best = min(adapters, key=lambda checkpoint: checkpoint.val_loss)
    if choice == "last":
        return adapters[-1]
    if choice == "best_val_loss":
        return best
    if choice == "earliest_within_tolerance":
        return next(c for c in adapters if c.val_loss <= best.val_loss * (1 + tolerance))
    for checkpoint in adapters:
        if checkpoint.folder == choice:
            return checkpoint
    names = ", ".join(str(checkpoint.folder) for checkpoint in adapters)
    raise CheckpointError(
        f"merge.checkpoint: no {choice!r}; choose best, last, best_val_loss, "
        f"earliest_within_tolerance, the path of a reference .ckpt, or one of: {names}"
    )
