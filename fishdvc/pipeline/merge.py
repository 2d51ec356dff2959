"""Stage ``merge``: merge a trained adapter into the base and check the result."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from fishdvc.base.folder import base_files
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.lora.adapter import load_adapter
from fishdvc.lora.check import check_merged
from fishdvc.lora.checkpoint_list import Checkpoint, choose_checkpoint, read_checkpoints
from fishdvc.lora.choice import ChosenCheckpoint
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.lora.model_card import model_card
from fishdvc.lora.reference import convert_reference_adapter
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.model.precision import float32_by_module
from fishdvc.pipeline.shared_params import external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.tensors import writing_tensors
from fishdvc.text.prompt import speech_prompt
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.validation import Checked, shown

CHECK_TEXT = "The voice that speaks this sentence has been learnt."
CHECK_FRAMES = 12
LOGIT_TOLERANCE = {torch.float32: 1e-4}
ROUNDED_LOGIT_TOLERANCE = 0.1
"""Norm of the difference of logits, relative to their norm. Rounding of all weights to bfloat16
changes the logits of a random full-size model by 2 %."""


class MergeParams(Checked):
    """Section ``merge`` of params.yaml."""

    checkpoint: str = Field(
        description="best, another rule, a checkpoint's name, or a .ckpt in data/external/merge."
    )
    tolerance: float = Field(description="Of the best loss, for earliest_within_tolerance.", ge=0)
    reference_alpha: float = Field(description="LoRA alpha of a reference .ckpt.", gt=0)
    safetensors: bool = Field(description="Write model.safetensors beside model.pth.")


def merge(
    params: MergeParams,
    *,
    base: Path,
    codec_checkpoint: str,
    lora_folder: Path,
    merged: Path,
    metrics: Path,
    choice: Path | None = None,
    base_source: str = "",
    training: Mapping[str, Checked] | None = None,
) -> str:
    """Write a model folder for fish-speech v1.5 with the keys, shapes and types of the base.

    The folder has a model card, ``README.md``.

    Args:
        params: Section ``merge``.
        base: Folder of the base model.
        codec_checkpoint: Name of the codec's file in ``base``.
        lora_folder: Folder of the adapters of a run.
        merged: Folder to create. An older folder is replaced only after all checks.
        metrics: File for the step and the loss of the chosen adapter.
        choice: The result of the stage ``evaluate``, which ``checkpoint: best`` needs.
        base_source: Folder or repository of the base, for the model card.
        training: Sections of params.yaml that the adapters were trained with, for the model card.

    Returns:
        A summary in one line.

    Raises:
        ParamsError: ``checkpoint`` is not a file that DVC tracks, or needs ``choice``.
        CheckpointError: There is no such adapter, it does not fit the base, or the merged model
            does not compute the same as the base with the adapter.
    """
    start_s = time.monotonic()
    files = base_files(base, codec_checkpoint, todo="run fetch_base again")
    with TemporaryDirectory() as workspace:
        evaluated = ChosenCheckpoint.read(choice) if choice else None
        chosen, adapter_folder = _choose(params, lora_folder, evaluated, Path(workspace))
        adapter = read_adapter(adapter_folder)
        with atomic_folder(merged) as folder:
            weights = merge_adapter(load_weights(base / "model.pth"), adapter)
            with writing_tensors(merged):
                torch.save(weights, folder / "model.pth")
                if params.safetensors:
                    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            for path in files:
                if path.name != "model.pth":
                    shutil.copyfile(path, folder / path.name)
            card = model_card(base_source or str(base), chosen, evaluated, training or {})
            (folder / "README.md").write_text(card, encoding="utf-8")
            del weights
            written = load_weights(folder / "model.pth")
            check_merged(load_weights(base / "model.pth"), written, adapter)
            error = _logit_error(base, folder, adapter_folder)
            dtype, num_weights = written["embeddings.weight"].dtype, len(written)
            # Windows cannot rename a folder while a file in it is mapped into memory.
            del written
            tolerance = LOGIT_TOLERANCE.get(dtype, ROUNDED_LOGIT_TOLERANCE)
            if not error <= tolerance:
                raise CheckpointError(
                    f"{merged}: expected the logits of the base with the adapter within "
                    f"{tolerance:.2g}, got an error of {error:.2g}; nothing was written; "
                    "report this bug"
                )
    figures = {"merged_step": chosen.step, "merged_val_loss": round(chosen.val_loss, 5)}
    write_metrics(metrics, figures if chosen.step else {})
    return (
        f"merge: {chosen.folder} into {base.name}, {len(adapter.modules)} weights changed of "
        f"{num_weights}, logits within {error:.1e}, {time.monotonic() - start_s:.1f} s"
    )


def _choose(
    params: MergeParams, lora_folder: Path, evaluated: ChosenCheckpoint | None, workspace: Path
) -> tuple[Checkpoint, Path]:
    """Return the chosen checkpoint and its folder. A reference .ckpt is converted."""
    if params.checkpoint.endswith(".ckpt"):
        path = external_path(params.checkpoint, stage="merge", param="merge.checkpoint")
        folder = workspace / path.stem
        convert_reference_adapter(path, params.reference_alpha, folder)
        return Checkpoint(step=0, val_loss=float("nan"), folder=path.name), folder
    checkpoints = read_checkpoints(lora_folder)
    name = params.checkpoint
    if name == "best":
        if evaluated is None:
            raise ParamsError("merge.checkpoint: best needs --choice, a file of evaluate")
        name = evaluated.checkpoint
        if name not in {checkpoint.folder for checkpoint in checkpoints}:
            raise CheckpointError(
                f"evaluate chose {shown(name)}, which is not in {lora_folder}; run evaluate again"
            )
    chosen = choose_checkpoint(checkpoints, name, tolerance=params.tolerance)
    return chosen, lora_folder / str(chosen.folder)


def _logit_error(base: Path, merged: Path, adapter_folder: Path) -> float:
    """Compare the logits of a sentence with those of the base with the adapter, run by PEFT."""
    model = load_dual_ar(base)
    shape = (model.config.num_codebooks, CHECK_FRAMES)
    codes = np.random.default_rng(0).integers(1, model.config.codebook_size, shape)
    prompt = speech_prompt(load_tokenizer(base), CHECK_TEXT, codes)
    inputs = torch.from_numpy(prompt).long()[None]
    expected = _all_logits(load_adapter(model, adapter_folder), inputs)
    found = _all_logits(load_dual_ar(merged), inputs)
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected))


@torch.inference_mode()
def _all_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    with float32_by_module(model):
        output = model(inputs)
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])
