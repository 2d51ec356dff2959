"""Write the metrics of a run with DVCLive, for ``dvc exp show`` and ``dvc plots``."""

import shutil
from pathlib import Path
from typing import Any

from dvclive.live import Live
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Curves(Callback):
    """Logs ``train/*`` after every optimizer step and ``val/*`` after every validation.

    Steps are optimizer steps, and step 0 is the base before training. DVCLive's own logger for
    Lightning numbers steps by its calls instead.

    Args:
        folder: Folder for ``metrics.json`` (the last values) and ``plots/metrics/**.tsv``. Its
            contents are deleted.
        resume_from: Copy of such a folder from an interrupted run, to be continued.
    """

    def __init__(self, folder: Path, *, resume_from: Path | None = None) -> None:
        self.folder = folder
        self.resume_from = resume_from
        self.live: Live | None = None
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Open DVCLive on the first process."""
        if self.live is not None or not trainer.is_global_zero:
            return
        if self.resume_from:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.resume_from, self.folder)
        resume = self.resume_from is not None
        # By default DVCLive saves an experiment of its own and rewrites dvc.yaml.
        self.live = Live(str(self.folder), resume=resume, save_dvc_exp=False, dvcyaml=None)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:  # noqa: ARG002
        """Log the metrics of an optimizer step after its last batch."""
        if trainer.global_step > self._last_step:
            self._log(trainer, "train/")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Log the metrics of the held-out sentences."""
        self._log(trainer, "val/")

    def _log(self, trainer: Trainer, prefix: str) -> None:
        if self.live is None:
            return
        self.live.step = self._last_step = trainer.global_step
        for name, value in trainer.callback_metrics.items():
            if name.startswith(prefix):
                self.live.log_metric(name, value.item() if isinstance(value, Tensor) else value)
        self.live.make_summary()  # type: ignore[no-untyped-call]
