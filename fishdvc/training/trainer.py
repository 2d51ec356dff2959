"""Lightning's Trainer as fishdvc uses it: loggers, validation by step, quiet where nobody looks."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from fishdvc.errors import ParamsError
from fishdvc.machine import MachineParams
from fishdvc.training.params import TrainLoraParams

LoggerName = Literal["csv", "tensorboard", "none"]


def build_loggers(folder: Path, logger: LoggerName) -> list[Logger]:
    """Make the logger asked for beside the curves, which DVCLive writes.

    Args:
        folder: Where it writes.
        logger: Which.

    Raises:
        ParamsError: TensorBoard is asked for, but not installed.
    """
    if logger == "csv":
        return [CSVLogger(folder, name=None, version="")]
    if logger == "tensorboard":
        try:
            return [TensorBoardLogger(folder, name=None, version="")]
        except ModuleNotFoundError as error:
            todo = "pip install tensorboard, or set train_lora.logger to csv"
            raise ParamsError(f"train_lora.logger: TensorBoard is not installed; {todo}") from error
    return []


def build_trainer(
    params: TrainLoraParams,
    machine: MachineParams,
    *,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
) -> Trainer:
    """Build a trainer that counts optimizer steps, not epochs.

    Args:
        params: Steps, intervals, accumulation, clipping and precision.
        machine: Accelerator, devices and backend.
        loggers: Loggers of the run.
        callbacks: Callbacks of the run.
    """
    # Silence Lightning's banner; the stage prints its own plan.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    strategy: str | Strategy = "auto"
    if machine.process_group_backend != "auto":
        strategy = DDPStrategy(process_group_backend=machine.process_group_backend)
    return Trainer(
        max_steps=params.max_steps,
        max_epochs=-1,
        # Lightning counts batches here, and across epochs only with the next argument.
        val_check_interval=params.val_every_steps * params.accumulate_grad_batches,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=params.accumulate_grad_batches,
        gradient_clip_val=params.gradient_clip_norm or None,
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        strategy=strategy,
        precision="bf16-mixed" if params.precision == "bf16-mixed" else "32-true",
        logger=list(loggers),
        callbacks=list(callbacks),
        log_every_n_steps=1,
        # The data module plans each epoch, separately for each process.
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )
