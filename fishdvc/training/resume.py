"""Save what an interrupted run needs to resume with the same result."""

import shutil
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

CHECKPOINT = "trainer.ckpt"
POINTS, CURVES = "points", "curves"


class ResumePoints(Callback):
    """Keeps the newest resume point, ``points/step_000000010/``, which is written atomically.

    It holds Lightning's checkpoint (adapter, optimizer, schedule, step, position in the data) and a
    copy of the curves. States of random number generators are not needed, because each batch has
    its own seed.

    Args:
        work: Folder of the run, with DVCLive's folder ``curves``. An interrupted run may have used
            it before.
        every_steps: Optimizer steps between two resume points.
    """

    def __init__(self, work: Path, *, every_steps: int) -> None:
        self.folder, self.curves = work / POINTS, work / CURVES
        self.every_steps = every_steps

    def latest(self) -> Path | None:
        """Return the folder of the newest resume point, or None."""
        return max(self.folder.glob("step_*"), default=None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save a resume point if it is due, and delete earlier ones."""
        step = trainer.global_step
        if not step or step % self.every_steps or step == trainer.max_steps:
            return
        partial = self.folder / ".partial"
        # All processes take part in this call; only the first one writes.
        trainer.save_checkpoint(partial / CHECKPOINT)
        if trainer.is_global_zero:
            earlier = list(self.folder.glob("step_*"))
            shutil.copytree(self.curves, partial / CURVES, dirs_exist_ok=True)
            partial.rename(self.folder / f"step_{step:09d}")
            for point in earlier:
                shutil.rmtree(point)
