"""Stage ``train_lora``: train adapters on the shards and validate on held-out clips."""

import shutil
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch import Trainer, seed_everything
from peft import PeftModel

from fishdvc.base.folder import MODEL_FILES
from fishdvc.corpus.bad_clips import write_report
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.dataset.sentence_set import read_sentences
from fishdvc.device import has_bfloat16
from fishdvc.errors import ParamsError, list_problems
from fishdvc.lora.adapter import add_adapter, load_adapter
from fishdvc.lora.checkpoint_list import read_checkpoints
from fishdvc.machine import MachineParams
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.config import read_config
from fishdvc.model.dual_ar import DualAR
from fishdvc.pipeline.shared_params import init_from_path
from fishdvc.storage.atomic import HIDDEN, atomic_folder, delete_folder, sweep, write_metrics
from fishdvc.storage.cache import combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.storage.lock import run_lock
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.checkpoints import AdapterCheckpoints
from fishdvc.training.curves import Curves
from fishdvc.training.memory import num_checkpointed
from fishdvc.training.module import AdapterTraining
from fishdvc.training.params import LoraParams, TrainLoraParams, base_mismatches
from fishdvc.training.resume import (
    CHECKPOINT,
    CURVES,
    LOGS,
    LORA,
    POINTS,
    ResumePoints,
    is_finished,
    mark_finished,
)
from fishdvc.training.trainer import build_loggers, build_trainer, disconnect


def train_lora(
    adapter: LoraParams,
    params: TrainLoraParams,
    machine: MachineParams,
    *,
    base: Path,
    protos: Path,
    lora: Path,
    logs: Path,
    curves: Path,
    too_long: Path,
    metrics: Path,
) -> str:
    """Train an adapter and save it every N steps in PEFT's format, with its validation loss.

    An interrupted run is resumed from ``.fishdvc_cache`` if params, data, code and the number of
    processes are unchanged. If another process trains the same adapter, this one waits and takes
    its result.

    Args:
        adapter: Section ``lora``.
        params: Section ``train_lora``.
        machine: Section ``machine``.
        base: Folder of the base model.
        protos: Folder of shards, ``train/`` and ``val/``.
        lora: Folder to write ``step_000000010/`` and ``checkpoints.json`` to.
        logs: Folder to write the logs of ``machine.logger`` to.
        curves: Folder to write DVCLive's metrics to.
        too_long: File to list the clips in that are longer than ``max_length``.
        metrics: File to write the metrics of the run to, for ``dvc exp show``.

    Returns:
        A summary in one line; empty on all processes but the first.

    Raises:
        ParamsError: Parameters do not fit together or do not fit the base, ``init_from`` does not
            exist, training diverged, or the GPU has too little memory.
        CheckpointError: The base or the adapter ``init_from`` cannot be loaded.
        DatasetError: The shards cannot be trained on.
    """
    start_s = time.monotonic()
    seed_everything(params.seed, workers=True, verbose=False)
    if problems := base_mismatches(adapter, params, read_config(base / "config.json")):
        raise ParamsError(list_problems("params.yaml: correct these values", problems))
    trainer = build_trainer(params, machine)
    data = _data_module(params, base, protos)
    dtype = _base_dtype(params, trainer.strategy.root_device)
    key = _run_key(adapter, params, dtype, base, protos, num_processes=trainer.world_size)
    # DVC deletes the outputs before a stage runs, so an interrupted run is kept elsewhere.
    work = project_cache("train_lora").folder / key
    lock_file = project_cache("locks").folder / f"train_lora-{key}.lock"
    locking = run_lock(lock_file, purpose=f"it trains the same adapter ({key})")
    with locking if trainer.is_global_zero else nullcontext() as lock:
        if lock:
            sweep(work.parent)
        adapted = _load_adapted(adapter, params, base, dtype, trainer.strategy.root_device)
        excluded = data.train.too_long + data.val.too_long
        if lock:
            report = f"train_lora: {len(excluded)} clips longer than max_length"
            write_report(too_long, report, excluded)
        num_batches = params.max_steps * params.accumulate_grad_batches
        num_epochs = num_batches / data.num_train_batches(0, trainer.world_size)
        _train(trainer, adapted, params, machine, data, work, num_epochs)
        disconnect(trainer)
        if not lock:
            return ""
        for name, out in ((LORA, lora), (CURVES, curves), (LOGS, logs)):
            _copy_output(work / name, out)
        untuned, *adapters = read_checkpoints(lora)
        best = min(adapters, key=lambda checkpoint: checkpoint.val_loss)
        num_seen = data.num_sentences_seen(num_batches, trainer.world_size)
        coverage = num_seen / (len(data.train.sentences) + len(data.train.too_long))
        write_metrics(
            metrics,
            {
                "untuned_val_loss": round(untuned.val_loss, 5),
                "best_val_loss": round(best.val_loss, 5),
                "best_step": best.step,
                "coverage": round(coverage, 4),
            },
        )
        # A process that waits takes the result.
        if not lock.others_wait():
            delete_folder(work)
    return (
        f"train_lora: {params.max_steps} steps, {num_epochs:.2f} epochs, "
        f"{coverage:.0%} of the sentences seen, {len(excluded)} too long for max_length, "
        f"validation loss {untuned.val_loss:.4f} -> {best.val_loss:.4f} (step {best.step}), "
        f"{time.monotonic() - start_s:.1f} s"
    )


def _train(
    trainer: Trainer,
    adapted: PeftModel,
    params: TrainLoraParams,
    machine: MachineParams,
    data: SentenceDataModule,
    work: Path,
    num_epochs: float,
) -> None:
    """Train in the folder of the run, or resume there, unless a run with its key finished there."""
    if trainer.strategy.launcher is not None:
        # Lightning would start and connect the other processes later, in ``validate`` or ``fit``.
        trainer.strategy.launcher.launch(trainer.strategy.setup_environment)
    points = ResumePoints(work, every_steps=params.checkpoint_every_steps)
    finished, name = False, None
    if trainer.is_global_zero:
        finished = is_finished(work)
        name = None if finished else points.latest()
    # Only the first process holds the lock. Others may have seen the folder of an earlier run.
    finished, name = trainer.strategy.broadcast((finished, name))
    if trainer.is_global_zero:
        line = "train_lora: a run with equal params, data and code finished; its result is used"
        if not finished:
            line = _describe(adapted, data, params.max_steps, num_epochs, work, name)
        print(line, flush=True)
    if finished:
        return
    point = work / POINTS / name if name else None
    trainer.callbacks += [  # type: ignore[attr-defined]
        Curves(work / CURVES, resume_from=point and point / CURVES),
        AdapterCheckpoints(
            adapted, work / LORA, every_steps=params.checkpoint_every_steps, resume_from=point
        ),
        points,
    ]
    logs = work / LOGS / (name or "start")
    if trainer.is_global_zero:
        # An interrupted run may have started at the same point. Loggers would append to its logs.
        shutil.rmtree(logs, ignore_errors=True)
    trainer.loggers = build_loggers(logs, machine.logger)
    _fit(trainer, AdapterTraining(adapted, params), data, point, params)
    if trainer.is_global_zero:
        mark_finished(work)


def _describe(
    adapted: PeftModel,
    data: SentenceDataModule,
    max_steps: int,
    num_epochs: float,
    work: Path,
    point: str | None,
) -> str:
    """Describe a run in a line, and name the unfinished runs with other params, if any."""
    sentences = data.train.sentences
    num_trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    lines = [
        f"train_lora: {sum(p.numel() for p in adapted.parameters()) / 1e6:.1f} M parameters, "
        f"{num_trained / 1e6:.2f} M of them in adapters; {len(sentences)} sentences, "
        f"{sum(sentence.num_tokens for sentence in sentences)} tokens; {max_steps} steps "
        f"are about {num_epochs:.1f} epochs; "
        f"{cast(DualAR, adapted).num_checkpointed} blocks checkpointed"
        + (f"; resuming from {point}" if point else "")
    ]
    others = sorted(str(folder) for folder in work.parent.glob("[!.]*") if folder != work)
    if others and not point:
        lines.append(
            "train_lora: unfinished runs with other params, data or code are not resumed: "
            + ", ".join(others)
        )
    return "\n".join(lines)


def _fit(
    trainer: Trainer,
    module: AdapterTraining,
    data: SentenceDataModule,
    point: Path | None,
    params: TrainLoraParams,
) -> None:
    """Train, with a validation before the first step and after the last."""
    with warnings.catch_warnings():
        # A warning of Lightning about its own use of torch.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        if point is None:
            trainer.validate(module, data, verbose=False)
        module.train()
        try:
            trainer.fit(module, data, ckpt_path=point and point / CHECKPOINT)
        except torch.OutOfMemoryError as error:
            raise ParamsError(
                "train_lora: the GPU has too little memory; set "
                "train_lora.gradient_checkpointing: on, or reduce train_lora.batch_size or "
                f"train_lora.max_length: {error}"
            ) from error
        if params.max_steps % params.val_every_steps:
            trainer.validate(module, data, verbose=False)


def _copy_output(source: Path, out: Path) -> None:
    with atomic_folder(out) as folder:
        if source.exists():  # Without a logger there are no logs.
            ignore = shutil.ignore_patterns(f"{HIDDEN}*")
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=ignore)


def _load_adapted(
    adapter: LoraParams,
    params: TrainLoraParams,
    base: Path,
    dtype: torch.dtype,
    device: torch.device,
) -> PeftModel:
    model = load_dual_ar(base, dtype=dtype)
    if params.init_from is None:
        adapted = add_adapter(model, **adapter.model_dump())
    else:
        adapted = load_adapter(model, init_from_path(params.init_from), trainable=True)
    model.num_checkpointed = num_checkpointed(params, model, device)
    return adapted


def _run_key(
    adapter: LoraParams,
    params: TrainLoraParams,
    dtype: torch.dtype,
    base: Path,
    protos: Path,
    *,
    num_processes: int,
) -> str:
    """Return the name of the run's folder. A run with the same name is resumed."""
    files = [*(base / name for name in MODEL_FILES), *sorted(protos.rglob("*.protos"))]
    if params.init_from is not None:
        files += sorted(init_from_path(params.init_from).glob("adapter_*"))
    files += imported_files(Path(__file__))
    # Another number of processes has another data plan.
    hashes = [content_hash(file) for file in files]
    return combined_key(adapter, params, dtype, num_processes, *hashes)[:16]


def _base_dtype(params: TrainLoraParams, device: torch.device) -> torch.dtype:
    auto = params.precision == "auto" and has_bfloat16(device)
    return torch.bfloat16 if auto or params.precision == "bf16-true" else torch.float32


def _data_module(params: TrainLoraParams, base: Path, protos: Path) -> SentenceDataModule:
    tokenizer = load_tokenizer(base)
    train, val = (
        read_sentences(protos / split, tokenizer, max_length=params.max_length)
        for split in ("train", "val")
    )
    return SentenceDataModule(
        train,
        val,
        padding_id=tokenizer.end_of_text_id,
        batch_size=params.batch_size,
        max_length=params.max_length,
        accumulate_grad_batches=params.accumulate_grad_batches,
        seed=params.seed,
    )
