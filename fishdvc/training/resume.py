"""Save what an interrupted run needs to resume with the same result.

The folder of a run has ``lora``, ``curves`` and ``logs``, which become outputs, and ``points``.
"""

import shutil
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from fishdvc.lora.checkpoint_list import CHECKPOINT_LIST, read_checkpoints
from fishdvc.storage.atomic import atomic_folder, delete_folder
from fishdvc.storage.manifest import Entries, manifest_problem, write_manifest

LORA, CURVES, LOGS, POINTS = "lora", "curves", "logs", "points"
CHECKPOINT, MANIFEST = "trainer.ckpt", "manifest.json"
FINISHED = "finished.json"
NUM_KEPT = 2


def is_finished(work: Path) -> bool:
    """Whether a run finished in this folder and all of its outputs are whole."""
    return manifest_problem(work / FINISHED, work) is None


def mark_finished(work: Path) -> None:
    """Write the manifest of the outputs of a run."""
    outputs = [path for name in (LORA, CURVES, LOGS) for path in (work / name).rglob("*")]
    write_manifest(work / FINISHED, work, [path for path in outputs if path.is_file()])


class ResumePoints(Callback):
    """Keeps the two newest resume points, ``points/step_000000010/``.

    A point holds Lightning's checkpoint (adapter, optimizer, schedule, step, position in the data),
    copies of the curves and of the list of adapters, and a manifest, which is written last. The
    manifest also covers the adapters in the list. States of random number generators are not
    needed, because each batch has its own seed.

    Args:
        work: Folder of the run. An interrupted run may have used it before.
        every_steps: Optimizer steps between two resume points.
    """

    def __init__(self, work: Path, *, every_steps: int) -> None:
        self.work, self.folder = work, work / POINTS
        self.every_steps = every_steps
        self._entries: Entries = {}

    def latest(self) -> str | None:
        """Return the name of the newest resume point that is whole, or None.

        Newer ones are deleted, with one line each.
        """
        for point in self._sorted(reverse=True):
            problem = manifest_problem(point / MANIFEST, self.work)
            if problem is None:
                return point.name
            print(f"train_lora: resume point {point.name} is not used: {problem}", flush=True)
            delete_folder(point)
        return None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save a resume point if it is due, and delete the oldest."""
        step = trainer.global_step
        if not step or step % self.every_steps or step == trainer.max_steps:
            return
        if not trainer.is_global_zero:
            # All processes take part in this call; only the first one writes.
            trainer.save_checkpoint(self.folder / CHECKPOINT)
            return
        point = self.folder / f"step_{step:09d}"
        with atomic_folder(point) as partial:
            trainer.save_checkpoint(partial / CHECKPOINT)
            shutil.copytree(self.work / CURVES, partial / CURVES)
            shutil.copyfile(self.work / LORA / CHECKPOINT_LIST, partial / CHECKPOINT_LIST)
        folders = [self.work / LORA / c.folder for c in read_checkpoints(point) if c.folder]
        files = [path for folder in (point, *folders) for path in folder.rglob("*")]
        files = [path for path in files if path.is_file()]
        # Adapters do not change after they are saved, so each is hashed once.
        self._entries = write_manifest(point / MANIFEST, self.work, files, known=self._entries)
        for old in self._sorted()[:-NUM_KEPT]:
            delete_folder(old)

    def _sorted(self, *, reverse: bool = False) -> list[Path]:
        return sorted(self.folder.glob("step_*"), reverse=reverse)
