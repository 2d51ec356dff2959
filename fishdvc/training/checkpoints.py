"""Keep an adapter every N steps, all of them, with the validation loss it had."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from peft import PeftModel

from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.checkpoint_list import (
    CHECKPOINT_LIST,
    Checkpoint,
    read_checkpoints,
    write_checkpoints,
)


class AdapterCheckpoints(Callback):
    """Save the adapter after every N-th step's validation, and after the last.

    Args:
        adapted: The model that is trained.
        folder: Where ``step_000000010/`` and the list of all go; those of an interrupted run may
            be there.
        every_steps: Optimizer steps between two; a multiple of the validation interval.
    """

    def __init__(self, adapted: PeftModel, folder: Path, *, every_steps: int) -> None:
        self.adapted = adapted
        self.folder = folder
        self.every_steps = every_steps
        there = (folder / CHECKPOINT_LIST).exists()
        self.checkpoints: list[Checkpoint] = read_checkpoints(folder) if there else []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save, if it is time to; step 0 is the base, whose loss is kept for comparison."""
        step = trainer.global_step
        if step % self.every_steps and step != trainer.max_steps:
            return
        if any(checkpoint.step == step for checkpoint in self.checkpoints):
            return
        folder = f"step_{step:09d}" if step else None
        val_loss = float(trainer.callback_metrics["val/loss"])
        self.checkpoints.append(Checkpoint(step=step, val_loss=val_loss, folder=folder))
        if trainer.is_global_zero:
            if folder:
                save_adapter(self.adapted, self.folder / folder)
            write_checkpoints(self.folder, self.checkpoints)
