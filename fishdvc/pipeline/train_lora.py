"""Stage ``train_lora``: train adapters on the shards, validating on held-out clips only."""

import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from peft import PeftModel

from fishdvc.base.folder import MODEL_FILES
from fishdvc.corpus.bad_clips import write_report
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.lora.adapter import add_adapter, load_adapter
from fishdvc.lora.checkpoint_list import Checkpoint
from fishdvc.machine import MachineParams
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.pipeline.shared_params import external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import code_hash, combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.checkpoints import AdapterCheckpoints
from fishdvc.training.curves import Curves
from fishdvc.training.module import AdapterTraining
from fishdvc.training.params import LoraParams, TrainLoraParams
from fishdvc.training.resume import CHECKPOINT, CURVES, ResumePoints
from fishdvc.training.trainer import build_loggers, build_trainer

# Columns of ``dvc exp show``; what else there is to a run, its summary and its curves tell.
COMPARED = ("untuned_val_loss", "best_val_loss", "best_step", "coverage")


def train_lora(
    lora: LoraParams,
    params: TrainLoraParams,
    machine: MachineParams,
    *,
    base: Path,
    protos: Path,
    lora_folder: Path,
    logs: Path,
    curves: Path,
    too_long: Path,
    metrics: Path,
) -> str:
    """Train adapters; keep one every N steps in PEFT's format, with its validation loss.

    Args:
        lora: Shape of the adapter.
        params: How to train.
        machine: Devices and logger.
        base: Folder of the base model.
        protos: Folder of shards, ``train/`` and ``val/``.
        lora_folder: Folder to write ``step_000000010/`` and ``checkpoints.json`` to.
        logs: Folder of the logger beside DVCLive.
        curves: Folder of DVCLive.
        too_long: File to list the clips in that are longer than ``max_length``.
        metrics: File to write the figures of the run to.

    Returns:
        One line for people.

    Raises:
        ParamsError: Parameters do not go together.
        CheckpointError: The base cannot be loaded.
        DatasetError: The shards cannot be trained on.
    """
    start_s = time.monotonic()
    seed_everything(params.seed, workers=True, verbose=False)
    dtype = _base_dtype(params, machine)
    model = load_dual_ar(base, dtype=dtype)
    model.gradient_checkpointing = params.gradient_checkpointing
    data = _data_module(model, params, base, protos)
    data.setup()
    adapted = _adapted(model, lora, params.init_from)
    module = AdapterTraining(adapted, params)
    # Outside of the outputs, which DVC empties first: what an interrupted run has done is there.
    work = project_cache("train_lora").folder / _run_key(lora, params, dtype, base, protos)
    points = ResumePoints(
        work / "points", work / "curves", every_steps=params.checkpoint_every_steps
    )
    point = points.latest()
    checkpoints = AdapterCheckpoints(
        adapted, work / "lora", every_steps=params.checkpoint_every_steps
    )
    trainer = build_trainer(
        params,
        machine,
        loggers=build_loggers(work / "logs" / (point.name if point else "start"), machine.logger),
        callbacks=[
            Curves(work / "curves", go_on_from=point and point / CURVES),
            checkpoints,
            points,
        ],
    )
    if trainer.is_global_zero:
        lines = _too_long(data)
        write_report(too_long, f"train_lora: {len(lines)} clips longer than max_length", lines)
        print(_plan(adapted, data, params, trainer.world_size, point), flush=True)
    _fit(trainer, module, data, point, params)
    if not trainer.is_global_zero:
        return ""
    for done, out in (("lora", lora_folder), ("curves", curves), ("logs", logs)):
        with atomic_folder(out) as folder:
            if (work / done).exists():
                shutil.copytree(work / done, folder, dirs_exist_ok=True)
    shutil.rmtree(work)
    figures = _figures(checkpoints.checkpoints, data, module.num_batches, trainer.world_size)
    write_metrics(metrics, {name: figures[name] for name in COMPARED})
    return (
        f"train_lora: {params.max_steps} steps, {figures['epochs']} epochs, "
        f"{figures['coverage']:.0%} of the sentences seen, {figures['num_too_long']} too long for "
        f"max_length, validation loss {figures['untuned_val_loss']:.4f} -> "
        f"{figures['best_val_loss']:.4f} "
        f"(step {figures['best_step']}), {time.monotonic() - start_s:.1f} s"
    )


def _fit(
    trainer: Trainer,
    module: AdapterTraining,
    data: SentenceDataModule,
    point: Path | None,
    params: TrainLoraParams,
) -> None:
    """Train, with a validation before the first step and after the last."""
    with warnings.catch_warnings():
        # A batch takes a millisecond to make; and Lightning's own use of torch is not ours to mend.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        if point is None:
            trainer.validate(module, data, verbose=False)
        module.train()
        trainer.fit(module, data, ckpt_path=point and point / CHECKPOINT)
        if params.max_steps % params.val_every_steps:
            trainer.validate(module, data, verbose=False)


def _figures(
    checkpoints: Sequence[Checkpoint], data: SentenceDataModule, num_batches: int, num_ranks: int
) -> dict[str, float | int]:
    """Sum a run up."""
    best = min(checkpoints[1:], key=lambda checkpoint: checkpoint.val_loss)
    num_sentences = data.num_train_sentences + len(data.too_long_train_sentences)
    coverage = data.num_sentences_seen(num_batches, num_ranks) / num_sentences
    return {
        "untuned_val_loss": round(checkpoints[0].val_loss, 5),
        "best_val_loss": round(best.val_loss, 5),
        "best_step": best.step,
        "coverage": round(coverage, 4),
        "epochs": round(num_batches / data.num_train_batches(0, num_ranks), 2),
        "num_too_long": len(_too_long(data)),
    }


def _adapted(model: DualAR, lora: LoraParams, init_from: str | None) -> PeftModel:
    if init_from is not None:
        folder = external_path(init_from, stage="train_lora", param="train_lora.init_from")
        return load_adapter(model, folder, trainable=True)
    return add_adapter(
        model,
        r=lora.r,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=lora.targets,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
    )


def _run_key(
    lora: LoraParams, params: TrainLoraParams, dtype: torch.dtype, base: Path, protos: Path
) -> str:
    """Resume only if params, data and code are unchanged."""
    files = [*(base / name for name in MODEL_FILES), *sorted(protos.rglob("*.protos"))]
    if params.init_from is not None:
        files += sorted(Path(params.init_from).glob("adapter_*"))
    code = code_hash(imported_files(Path(__file__)))
    return combined_key(lora, params, dtype, [content_hash(file) for file in files], code)[:16]


def _base_dtype(params: TrainLoraParams, machine: MachineParams) -> torch.dtype:
    on_cuda = machine.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    auto = params.precision == "auto" and on_cuda and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if auto or params.precision == "bf16-true" else torch.float32


def _data_module(
    model: DualAR, params: TrainLoraParams, base: Path, protos: Path
) -> SentenceDataModule:
    return SentenceDataModule(
        protos / "train",
        protos / "val",
        load_tokenizer(base),
        num_codebooks=model.config.num_codebooks,
        codebook_size=model.config.codebook_size,
        batch_size=params.batch_size,
        max_length=params.max_length,
        accumulate_grad_batches=params.accumulate_grad_batches,
        seed=params.seed,
    )


def _too_long(data: SentenceDataModule) -> tuple[str, ...]:
    return data.too_long_train_sentences + data.too_long_val_sentences


def _plan(
    model: torch.nn.Module,
    data: SentenceDataModule,
    params: TrainLoraParams,
    num_ranks: int,
    point: Path | None,
) -> str:
    """Say what was loaded, what is trained, and how long."""
    parameters = list(model.parameters())
    total_m = sum(parameter.numel() for parameter in parameters) / 1e6
    trained_m = sum(p.numel() for p in parameters if p.requires_grad) / 1e6
    num_batches = data.num_train_batches(0, num_ranks)
    start = f"; goes on from {point.name}" if point else ""
    epochs = params.max_steps * params.accumulate_grad_batches / num_batches
    return (
        f"train_lora: {total_m:.1f} M parameters, {trained_m:.2f} M of them in adapters; "
        f"{data.num_train_sentences} sentences, {data.num_train_tokens} tokens; "
        f"{params.max_steps} steps are about {epochs:.1f} epochs{start}"
    )
