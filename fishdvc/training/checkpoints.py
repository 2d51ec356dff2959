"""Save an adapter every N steps, with its validation loss."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from peft import PeftModel

from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.checkpoint_list import (
    Checkpoint,
    folder_name,
    read_checkpoints,
    write_checkpoints,
)


class AdapterCheckpoints(Callback):
    """Saves the adapter after the validation of every N-th step, and after that of the last step.

    Args:
        adapted: The model that is trained.
        folder: Folder for ``step_000000010/`` and the list of all adapters. It may hold those of an
            interrupted run.
        every_steps: Optimizer steps between two adapters, a multiple of the validation interval.
        resume_from: Folder with the list of the adapters that a resumed run keeps.

    Attributes:
        checkpoints: The list. Step 0 is the base without an adapter.
    """

    def __init__(
        self, adapted: PeftModel, folder: Path, *, every_steps: int, resume_from: Path | None
    ) -> None:
        self.adapted = adapted
        self.folder = folder
        self.every_steps = every_steps
        self.checkpoints = read_checkpoints(resume_from) if resume_from else []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save the adapter if it is due."""
        step = trainer.global_step
        if step % self.every_steps and step != trainer.max_steps:
            return
        folder = folder_name(step)
        val_loss = float(trainer.callback_metrics["val/loss"])
        self.checkpoints.append(Checkpoint(step=step, val_loss=val_loss, folder=folder))
        if trainer.is_global_zero:
            if folder:
                save_adapter(self.adapted, self.folder / folder)
            write_checkpoints(self.folder, self.checkpoints)
