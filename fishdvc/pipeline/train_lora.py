"""Stage ``train_lora``: train adapters on the shards, validating on held-out clips only."""

import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import Trainer, seed_everything
from peft import PeftModel

import fishdvc.dataset
import fishdvc.lora
import fishdvc.model
import fishdvc.training
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.errors import ParamsError
from fishdvc.files.cache import code_hash, combined_key, content_hash, project_cache
from fishdvc.files.outputs import fresh_folder, write_metrics
from fishdvc.files.problems import write_report
from fishdvc.lora import add_adapter, load_adapter
from fishdvc.lora.checkpoint_list import Checkpoint
from fishdvc.model import DualAR, load_dual_ar
from fishdvc.params import param
from fishdvc.text import load_tokenizer
from fishdvc.training.checkpoints import AdapterCheckpoints
from fishdvc.training.curves import Curves
from fishdvc.training.module import AdapterTraining
from fishdvc.training.resume import CHECKPOINT, CURVES, ResumePoints
from fishdvc.training.trainer import LoggerName, StrategyName, build_loggers, build_trainer

# Columns of ``dvc exp show``; what else there is to a run, its summary and its curves tell.
COMPARED = ("base_val_loss", "best_val_loss", "best_step", "coverage")


@dataclass(frozen=True, kw_only=True)
class LoraParams:
    """Section ``lora`` of params.yaml: the adapter's shape."""

    r: int = param("Rank.", at_least=1)
    alpha: float = param("The adapter is scaled by alpha / r.", above=0)
    dropout: float = param("Of linear layers' adapters.", at_least=0, below=1)
    use_rslora: bool = param("Scale by alpha / sqrt(r) instead.")
    use_dora: bool = param("Learn the magnitude of weights apart (DoRA).")
    targets: tuple[str, ...] = param("Names of the modules that get an adapter.")


@dataclass(frozen=True, kw_only=True)
class TrainLoraParams:
    """Section ``train_lora`` of params.yaml."""

    init_from: str | None = param(
        "Folder of an earlier adapter to start from, which then has its own r, alpha and targets."
    )
    max_steps: int = param("Optimizer steps in all.", at_least=1)
    learning_rate: float = param("Of AdamW, after the warm-up.", above=0)
    warmup_steps: int = param("Optimizer steps until the full learning rate.", at_least=0)
    weight_decay: float = param("Of AdamW.", at_least=0)
    batch_size: int = param("Sequences to a batch, on each device.", at_least=1)
    accumulate_grad_batches: int = param("Batches to an optimizer step.", at_least=1)
    max_length: int = param("Tokens of a sequence of whole sentences, at most.", at_least=16)
    gradient_clip_norm: float = param("Largest gradient norm; 0: no clipping.", at_least=0)
    val_every_steps: int = param("Optimizer steps between validations.", at_least=1)
    checkpoint_every_steps: int = param(
        "Optimizer steps between checkpoints; a multiple of val_every_steps.", at_least=1
    )
    gradient_checkpointing: bool = param("Less memory for a third more time.")
    workers: int = param("Processes that make batches; 0 is enough.", at_least=0)
    seed: int = param("Of initial adapters, order of sentences and dropout.", at_least=0)
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = param("Where to train.")
    devices: int | Literal["auto"] = param("How many devices of a machine.", at_least=1)
    num_nodes: int = param("How many machines.", at_least=1)
    strategy: StrategyName = param(
        "ddp: each device has the whole model; fsdp: a part of the frozen base; auto: ddp."
    )
    process_group_backend: Literal["auto", "nccl", "gloo"] = param("What several devices talk by.")
    precision: Literal["auto", "32-true", "bf16-true", "bf16-mixed"] = param(
        "Of the frozen base (-true) or of the arithmetic (-mixed); adapters are always float32."
    )
    logger: LoggerName = param("Beside DVCLive.")


def train_lora(
    lora: LoraParams,
    params: TrainLoraParams,
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
    _check_intervals(params)
    seed_everything(params.seed, workers=True, verbose=False)
    model = load_dual_ar(base, dtype=_base_dtype(params))
    model.gradient_checkpointing = params.gradient_checkpointing
    data = _data_module(model, params, base, protos)
    data.setup()
    adapted = _adapted(model, lora, params.init_from)
    module = AdapterTraining(
        adapted,
        learning_rate=params.learning_rate,
        warmup_steps=params.warmup_steps,
        weight_decay=params.weight_decay,
        seed=params.seed,
    )
    # Outside of the outputs, which DVC empties first: what an interrupted run has done is there.
    work = project_cache("train_lora").folder / _run_key(lora, params, base, protos)
    points = ResumePoints(
        work / "points", work / "curves", every_steps=params.checkpoint_every_steps
    )
    point = points.latest()
    checkpoints = AdapterCheckpoints(
        adapted, work / "lora", every_steps=params.checkpoint_every_steps
    )
    trainer = build_trainer(
        max_steps=params.max_steps,
        val_every_steps=params.val_every_steps,
        accumulate_grad_batches=params.accumulate_grad_batches,
        gradient_clip_norm=params.gradient_clip_norm,
        accelerator=params.accelerator,
        devices=params.devices,
        num_nodes=params.num_nodes,
        strategy=params.strategy,
        process_group_backend=params.process_group_backend,
        precision="bf16-mixed" if params.precision == "bf16-mixed" else "32-true",
        loggers=build_loggers(work / "logs" / (point.name if point else "start"), params.logger),
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
        with fresh_folder(out) as folder:
            if (work / done).exists():
                shutil.copytree(work / done, folder, dirs_exist_ok=True)
    shutil.rmtree(work)
    figures = _figures(checkpoints.checkpoints, data, module.num_batches, trainer.world_size)
    write_metrics(metrics, {name: figures[name] for name in COMPARED})
    return (
        f"train_lora: {params.max_steps} steps, {figures['epochs']} epochs, "
        f"{figures['coverage']:.0%} of the sentences seen, {figures['num_too_long']} too long for "
        f"max_length, validation loss {figures['base_val_loss']:.4f} -> "
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
        "base_val_loss": round(checkpoints[0].val_loss, 5),
        "best_val_loss": round(best.val_loss, 5),
        "best_step": best.step,
        "coverage": round(coverage, 4),
        "epochs": round(num_batches / data.num_train_batches(0, num_ranks), 2),
        "num_too_long": len(_too_long(data)),
    }


def _check_intervals(params: TrainLoraParams) -> None:
    if params.checkpoint_every_steps % params.val_every_steps:
        raise ParamsError(
            "params.yaml: train_lora: checkpoint_every_steps: must be a multiple of "
            f"val_every_steps ({params.val_every_steps}), got {params.checkpoint_every_steps}: "
            "each checkpoint is to have its validation loss"
        )


def _adapted(model: DualAR, lora: LoraParams, init_from: str | None) -> PeftModel:
    if init_from is not None:
        return load_adapter(model, init_from, trainable=True)
    return add_adapter(
        model,
        r=lora.r,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=lora.targets,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
    )


def _run_key(lora: LoraParams, params: TrainLoraParams, base: Path, protos: Path) -> str:
    """Tell runs apart: only one with the same params, data and code is gone on with."""
    files = [base / "config.json", base / "model.pth", *sorted(protos.rglob("*.protos"))]
    if params.init_from is not None:
        files += sorted(Path(params.init_from).glob("adapter_*"))
    code = code_hash([fishdvc.dataset, fishdvc.lora, fishdvc.model, fishdvc.training])
    return combined_key(lora, params, [content_hash(file) for file in files], code)[:16]


def _base_dtype(params: TrainLoraParams) -> torch.dtype:
    on_cuda = params.accelerator in ("auto", "cuda") and torch.cuda.is_available()
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
        num_workers=params.workers,
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
