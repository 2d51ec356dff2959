"""The list of the adapters of a run with their validation losses, ``checkpoints.json``.

The first entry is the base without an adapter, with ``"folder": null``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fishdvc.errors import CheckpointError
from fishdvc.storage.atomic import write_text

CHECKPOINT_LIST = "checkpoints.json"


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


def write_checkpoints(folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Write the list atomically into the folder of the adapters."""
    entries = [asdict(checkpoint) for checkpoint in checkpoints]
    write_text(folder / CHECKPOINT_LIST, json.dumps(entries, indent=2) + "\n")


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Read the list, in the order of steps.

    Raises:
        CheckpointError: The list is missing or damaged.
    """
    path = folder / CHECKPOINT_LIST
    try:
        return [Checkpoint(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    # Deep nesting raises RecursionError.
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a list of checkpoints, got: {error}; run train_lora again"
        ) from error


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
