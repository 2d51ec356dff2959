"""Write the figures of a run for ``dvc exp show`` and ``dvc plots``, by DVCLive.

DVCLive's own logger for Lightning numbers steps by its calls; here a step is an optimizer step, and
step 0 is the base before training.
"""

import shutil
from pathlib import Path
from typing import Any

from dvclive.live import Live
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class Curves(Callback):
    """Log ``train/*`` after every optimizer step and ``val/*`` after every validation.

    Args:
        folder: Where ``metrics.json`` (the last values) and ``plots/metrics/**.tsv`` go; emptied.
        go_on_from: Such a folder as it was when a run was interrupted; None: begin anew.
    """

    def __init__(self, folder: Path, *, go_on_from: Path | None = None) -> None:
        self.folder = folder
        self.go_on_from = go_on_from
        self.live: Live | None = None
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Open DVCLive, once, on the first process."""
        if self.live is not None or not trainer.is_global_zero:
            return
        if self.go_on_from:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.go_on_from, self.folder)
        resume = self.go_on_from is not None
        # By default it would save an experiment of its own and rewrite dvc.yaml.
        self.live = Live(str(self.folder), resume=resume, save_dvc_exp=False, dvcyaml=None)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Log the step that the batch completed, if it did."""
        if self.live and trainer.global_step > self._last_step:
            self._log(trainer, "train/")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Log the held-out clips' figures."""
        self._log(trainer, "val/")

    def _log(self, trainer: Trainer, prefix: str) -> None:
        if self.live is None:
            return
        self.live.step = self._last_step = trainer.global_step
        for name, value in trainer.callback_metrics.items():
            if name.startswith(prefix):
                self.live.log_metric(name, value.item() if isinstance(value, Tensor) else value)
        self.live.make_summary()  # type: ignore[no-untyped-call]
