"""Keep what an interrupted run needs to go on as if nothing had happened.

Everything of one moment lies in one folder, ``step_000000010/``, that appears whole or not at all:
Lightning's checkpoint (adapter, optimizer, schedule, step, position in the data) and the curves as
they were. Random numbers need no keeping: each batch draws from a seed of its own.
"""

import shutil
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

CHECKPOINT = "trainer.ckpt"
CURVES = "curves"


class ResumePoints(Callback):
    """Keep the newest point from which training can go on.

    Args:
        folder: Where the points go; those of an interrupted run may be in it.
        curves: Folder of DVCLive.
        every_steps: Optimizer steps between two.
    """

    def __init__(self, folder: Path, curves: Path, *, every_steps: int) -> None:
        self.folder = folder
        self.curves = curves
        self.every_steps = every_steps

    def latest(self) -> Path | None:
        """Return the newest point's folder, if there is one."""
        return max(self.folder.glob("step_*"), default=None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep this moment, if it is time to, and let go of earlier ones."""
        step = trainer.global_step
        if not step or step % self.every_steps or step == trainer.max_steps:
            return
        partial = self.folder / ".partial"
        # All processes take part; only the first one writes.
        trainer.save_checkpoint(partial / CHECKPOINT)
        if trainer.is_global_zero:
            earlier = list(self.folder.glob("step_*"))
            shutil.copytree(self.curves, partial / CURVES, dirs_exist_ok=True)
            partial.rename(self.folder / f"step_{step:09d}")
            for point in earlier:
                shutil.rmtree(point)
