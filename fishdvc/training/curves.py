"""Write the metrics of a run with DVCLive, for ``dvc exp show`` and ``dvc plots``."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from dvclive.live import Live
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.training.module import TENSOR_METRICS, AdapterTraining

WRITE_EVERY_STEPS = 20
"""Steps whose metrics are read from the GPU at once, which waits for the queued kernels."""


class Curves(Callback):
    """Logs ``train/*`` of every optimizer step and ``val/*`` of every validation.

    Steps are optimizer steps, and step 0 is the base before training. DVCLive's own logger for
    Lightning numbers steps by its calls instead. Metrics of steps are written every 20 steps and
    before every validation. A metric that is not finite ends the run. So this callback must come
    before those that save checkpoints.

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
        self._learning_rate = 0.0
        self._waiting: list[tuple[int, Tensor, dict[str, float]]] = []

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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note the step of a resumed run."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        *args: Any,  # noqa: ARG002
    ) -> None:
        """Keep the metrics of an optimizer step after its last batch.

        Raises:
            ParamsError: A metric of the last steps is not finite.
        """
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        module = cast(AdapterTraining, pl_module)
        self._waiting.append((trainer.global_step, module.step_tensors, module.step_numbers))
        if len(self._waiting) == WRITE_EVERY_STEPS:
            self._write_steps(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the metrics of the last steps and of the held-out sentences.

        Raises:
            ParamsError: A metric is not finite.
            CheckpointError: A metric is not finite before the first step.
        """
        self._write_steps(trainer)
        metrics = trainer.callback_metrics.items()
        self._write(trainer.global_step, {k: float(v) for k, v in metrics if k.startswith("val/")})

    def _write_steps(self, trainer: Trainer) -> None:
        if not self._waiting:
            return
        steps, tensors, numbers = zip(*self._waiting, strict=True)
        self._waiting = []
        means = trainer.strategy.reduce(torch.stack(tensors), reduce_op="mean").tolist()
        for step, mean, further in zip(steps, means, numbers, strict=True):
            self._learning_rate = further["learning_rate"]
            named = dict(zip(TENSOR_METRICS, mean, strict=True)) | further
            values = {f"train/{name}": value for name, value in named.items()}
            self._write(step, values)
            for logger in trainer.loggers:
                logger.log_metrics(values, step)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._not_finite(step, name, value)
        if self.live is None:
            return
        self.live.step = step
        for name, value in values.items():
            self.live.log_metric(name, value)
        self.live.make_summary()  # type: ignore[no-untyped-call]

    def _not_finite(self, step: int, name: str, value: float) -> ParamsError | CheckpointError:
        if step == 0:
            return CheckpointError(
                f"train_lora: {name} is {value} before the first step: the base or the adapter of "
                "train_lora.init_from has weights that are not finite; fetch or train it again"
            )
        return ParamsError(
            f"train_lora: training diverged: {name} is {value} at step {step} with learning rate "
            f"{self._learning_rate:g}; try a tenth of train_lora.learning_rate, more "
            "train_lora.warmup_steps, or train_lora.gradient_clip_norm: 1.0. The adapters saved "
            f"before are in {self.folder.parent / 'lora'}"
        )
