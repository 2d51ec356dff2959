"""Lightning's Trainer and loggers, set up for fishdvc."""

import logging
import os
import sys
from pathlib import Path

import torch.distributed
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from fishdvc.device import choose_device
from fishdvc.errors import ParamsError
from fishdvc.machine import MachineParams
from fishdvc.training.params import TrainLoraParams


def build_loggers(folder: Path, logger: str) -> list[Logger]:
    """Build the logger that ``machine.logger`` names: csv, tensorboard or none.

    Raises:
        ParamsError: TensorBoard is not installed.
    """
    if logger == "none":
        return []
    if logger == "csv":
        return [CSVLogger(folder, name=None, version="")]
    try:
        return [TensorBoardLogger(folder, name=None, version="")]
    except ModuleNotFoundError as error:
        raise ParamsError(
            "machine.logger: TensorBoard is not installed; pip install tensorboard, or set "
            "machine.logger: csv"
        ) from error


def build_trainer(params: TrainLoraParams, machine: MachineParams) -> Trainer:
    """Build a trainer without loggers and callbacks. It counts optimizer steps, not epochs.

    Raises:
        ParamsError: This machine does not have the devices, or ``num_nodes`` is above 1 and neither
            torchrun nor SLURM started this process.
    """
    if machine.num_nodes > 1 and not {"MASTER_ADDR", "SLURM_JOB_ID"} & os.environ.keys():
        raise ParamsError(
            f"machine.num_nodes: {machine.num_nodes} machines need torchrun or srun, see "
            "docs/several-gpus.md; start the stage with one of them, or set it to 1"
        )
    device = choose_device(machine.accelerator)
    if machine.process_group_backend == "nccl" and device.type != "cuda":
        raise ParamsError(
            f"machine.process_group_backend: nccl needs CUDA, got {device.type}; use auto or gloo"
        )
    # Silence Lightning's banner; train_lora prints its own lines.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    strategy: str | Strategy = "auto"
    if machine.process_group_backend != "auto":
        strategy = DDPStrategy(process_group_backend=machine.process_group_backend)
    try:
        return Trainer(
            max_steps=params.max_steps,
            max_epochs=-1,
            # Counted in batches, and across epochs because of the next argument.
            val_check_interval=params.val_every_steps * params.accumulate_grad_batches,
            check_val_every_n_epoch=None,
            accumulate_grad_batches=params.accumulate_grad_batches,
            gradient_clip_val=params.gradient_clip_norm or None,
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.num_nodes,
            strategy=strategy,
            precision="bf16-mixed" if params.precision == "bf16-mixed" else "32-true",
            logger=False,
            log_every_n_steps=1,
            # SentenceDataModule needs these two.
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
        )
    except MisconfigurationException as error:
        raise ParamsError(f"params.yaml: machine: {error}") from error


def disconnect(trainer: Trainer) -> None:
    """Wait for the other processes and end the connections to them, if there are any.

    A process that exits while it is connected may abort, because threads of gloo still hold tensors
    when Python ends (https://github.com/pytorch/pytorch/pull/179291). Its training is finished, but
    torchrun takes the abort for a failure, and the other machines wait 5 minutes for it.
    """
    if torch.distributed.is_initialized():
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()
