"""Stage ``merge``: put a trained adapter into the base, and prove that nothing else changed."""

import shutil
import time
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from fishdvc.base.folder import base_files
from fishdvc.errors import CheckpointError
from fishdvc.lora.apply import applied_adapter
from fishdvc.lora.check import check_merged
from fishdvc.lora.checkpoint_list import Checkpoint, choose_checkpoint, read_checkpoints
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import Adapter, merge_adapter
from fishdvc.lora.reference import read_reference_adapter
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.model.dual_ar import DualAR
from fishdvc.model.precision import float32_by_module
from fishdvc.pipeline.shared_params import external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.text.prompt import speech_prompt
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.validation import Checked

REFERENCE_SUFFIX = ".ckpt"
CHECK_TEXT = "The voice that speaks this sentence has been learnt."
CHECK_FRAMES = 12
LOGIT_TOLERANCE = {torch.float32: 1e-4}
ROUNDED_LOGIT_TOLERANCE = 0.1
"""Norm of the difference of logits over their norm. Weights rounded to 8 bits of mantissa are off
by up to 2**-9 each; over the 28 layers of a random full-size model that moves logits by 2 %."""


class MergeParams(Checked):
    """Section ``merge`` of params.yaml."""

    checkpoint: str = Field(
        description="A rule, the name of a checkpoint, or a .ckpt in data/external/merge."
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
) -> str:
    """Write a folder that fish-speech v1.5 loads unchanged: keys, shapes and types of the base.

    Args:
        params: Which adapter, and which files.
        base: Folder of the base model.
        codec_checkpoint: Name of the codec's file in it.
        lora_folder: Folder of the run's adapters.
        merged: Folder to write; replaced only if the result passed its check.
        metrics: File to write the choice to.

    Returns:
        One line for people.

    Raises:
        CheckpointError: There is no such adapter, it does not fit the base, or the merged model
            does not compute what the base with the adapter computes.
    """
    start_s = time.monotonic()
    files = base_files(base, codec_checkpoint, todo="run fetch_base again")
    chosen, adapter = _chosen_adapter(params, lora_folder)
    with atomic_folder(merged) as folder:
        weights = merge_adapter(load_weights(base / "model.pth"), adapter)
        torch.save(weights, folder / "model.pth")
        if params.safetensors:
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        for path in files:
            if path.name != "model.pth":
                shutil.copyfile(path, folder / path.name)
        del weights
        written = load_weights(folder / "model.pth")
        check_merged(load_weights(base / "model.pth"), written, adapter)
        error = _logit_error(base, folder, adapter)
        dtype = written["embeddings.weight"].dtype
        tolerance = LOGIT_TOLERANCE.get(dtype, ROUNDED_LOGIT_TOLERANCE)
        if not error <= tolerance:
            raise CheckpointError(
                f"{merged}: the merged model's logits are {error:.2g} off the base's with the "
                f"adapter (at most {tolerance:.2g} is rounding); nothing was written: report this"
            )
    figures = {"merged_step": chosen.step, "merged_val_loss": round(chosen.val_loss, 5)}
    write_metrics(metrics, figures if chosen.step else {})
    return (
        f"merge: {chosen.folder} into {base.name}, {len(adapter.modules)} weights changed of "
        f"{len(written)}, logits within {error:.1e}, {time.monotonic() - start_s:.1f} s"
    )


def _chosen_adapter(params: MergeParams, lora_folder: Path) -> tuple[Checkpoint, Adapter]:
    if params.checkpoint.endswith(REFERENCE_SUFFIX):
        path = external_path(params.checkpoint, stage="merge", param="merge.checkpoint")
        chosen = Checkpoint(step=0, val_loss=float("nan"), folder=path.name)
        return chosen, read_reference_adapter(path, params.reference_alpha)
    checkpoints = read_checkpoints(lora_folder)
    chosen = choose_checkpoint(checkpoints, params.checkpoint, tolerance=params.tolerance)
    return chosen, read_adapter(lora_folder / str(chosen.folder))


@torch.inference_mode()
def _logit_error(base: Path, merged: Path, adapter: Adapter) -> float:
    """Compare the merged files with the base and the adapter beside it, on a made-up sentence."""
    model = load_dual_ar(base)
    inputs = _check_prompt(base, model)
    with applied_adapter(model, adapter), float32_by_module(model):
        expected = _all_logits(model, inputs)
    model = load_dual_ar(merged)
    with float32_by_module(model):
        found = _all_logits(model, inputs)
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected))


def _check_prompt(base: Path, model: DualAR) -> Tensor:
    shape = (model.config.num_codebooks, CHECK_FRAMES)
    codes = np.random.default_rng(0).integers(1, model.config.codebook_size, shape)
    return torch.from_numpy(speech_prompt(load_tokenizer(base), CHECK_TEXT, codes)).long()[None]


def _all_logits(model: DualAR, inputs: Tensor) -> Tensor:
    output = model(inputs, torch.zeros(1, inputs.shape[2], dtype=torch.bool))
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])
