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
from fishdvc.training.sharded import ShardedBaseStrategy

LoggerName = Literal["csv", "tensorboard", "none"]
StrategyName = Literal["auto", "ddp", "fsdp"]


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
    *,
    max_steps: int,
    val_every_steps: int,
    accumulate_grad_batches: int,
    gradient_clip_norm: float,
    accelerator: str,
    devices: int | str,
    num_nodes: int,
    strategy: StrategyName,
    process_group_backend: str,
    precision: Literal["32-true", "bf16-mixed"],
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
) -> Trainer:
    """Build a trainer that counts optimizer steps, not epochs.

    Args:
        max_steps: Optimizer steps in all.
        val_every_steps: Optimizer steps between validations.
        accumulate_grad_batches: Batches to an optimizer step.
        gradient_clip_norm: Largest norm of all gradients together; 0: no clipping.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: ``auto`` or a number, on each node.
        num_nodes: Machines.
        strategy: ``auto``, ``ddp``, or ``fsdp``: each device holds a part of the frozen base.
        process_group_backend: ``auto``, ``nccl`` or ``gloo`` (Windows, CPU).
        precision: Of what Lightning casts.
        loggers: Where curves go.
        callbacks: What else happens on the way.
    """
    # Who wants to know about the device and the summary reads our own line.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    on_terminal = sys.stderr.isatty()
    backend = None if process_group_backend == "auto" else process_group_backend
    chosen: str | Strategy = strategy
    if strategy == "fsdp":
        chosen = ShardedBaseStrategy(process_group_backend=backend)
    elif backend:
        chosen = DDPStrategy(process_group_backend=backend)
    return Trainer(
        max_steps=max_steps,
        max_epochs=-1,
        # Lightning counts batches here; without an epoch's end in between.
        val_check_interval=val_every_steps * accumulate_grad_batches,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=accumulate_grad_batches,
        gradient_clip_val=gradient_clip_norm or None,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=chosen,
        precision=precision,
        logger=list(loggers),
        callbacks=list(callbacks),
        log_every_n_steps=1,
        # The plan of an epoch is the data module's, of each process its own part.
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        # What is gathered in inference mode could not be used in training after it.
        inference_mode=strategy != "fsdp",
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=on_terminal,
    )
