"""The list of a run's adapters with the validation loss of each: ``checkpoints.json``.

``[{"step": 0, "val_loss": 12.1, "folder": null}, {"step": 10, ..., "folder": "step_000000010"}]``;
the first entry is the base without an adapter. Starts without torch.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fishdvc.errors import CheckpointError

CHECKPOINT_LIST = "checkpoints.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One entry of the list.

    Attributes:
        step: Optimizer steps taken.
        val_loss: Mean loss over the held-out clips.
        folder: Name of the adapter's folder; ``None`` for the base itself.
    """

    step: int
    val_loss: float
    folder: str | None


def write_checkpoints(folder: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Write the list beside the adapters, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [asdict(checkpoint) for checkpoint in checkpoints]
    partial = folder / f".{CHECKPOINT_LIST}.partial"
    partial.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / CHECKPOINT_LIST)


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Read the list, in the order of steps.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    path = folder / CHECKPOINT_LIST
    try:
        return [Checkpoint(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not readable as a list of checkpoints ({error}); run train_lora again"
        ) from error


def choose_checkpoint(
    checkpoints: Sequence[Checkpoint], choice: str, *, tolerance: float
) -> Checkpoint:
    """Choose an adapter.

    Args:
        checkpoints: A run's list; the base is never chosen.
        choice: ``last``, ``best_val_loss``, ``earliest_within_tolerance`` (the first whose loss is
            at most ``1 + tolerance`` times the best), or a folder's name, ``step_000000010``.
        tolerance: Relative to the best loss.

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
        within = (c for c in adapters if c.val_loss <= best.val_loss * (1 + tolerance))
        return next(within)
    for checkpoint in adapters:
        if checkpoint.folder == choice:
            return checkpoint
    there = ", ".join(str(checkpoint.folder) for checkpoint in adapters)
    raise CheckpointError(
        f"merge.checkpoint: no {choice!r}; choose last, best_val_loss, "
        f"earliest_within_tolerance, the path of a reference .ckpt, or one of: {there}"
    )
