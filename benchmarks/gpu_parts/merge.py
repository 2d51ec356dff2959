"""Measure the stage merge, with its checks, beside a plain copy of the same file."""

import shutil
import statistics
import time
from pathlib import Path

import torch
from full_size_base import CODEC_NAME

from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.lora.checkpoint_list import Checkpoint, write_checkpoints
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.pipeline.merge import MergeParams, merge
from fishdvc.training.params import LoraParams
from gpu_parts.measuring import Record, Setup, repeat_s, section


def measure(setup: Setup, record: Record) -> None:
    """Record the time of a copy of model.pth and of the stage."""
    size_gb = (setup.base / "model.pth").stat().st_size / 1e9
    with record.case("copy model.pth on the disk") as figures:
        start_s = time.perf_counter()
        shutil.copyfile(setup.base / "model.pth", "copy.pth")
        figures["s"] = time.perf_counter() - start_s
        figures["gb_per_s"] = size_gb / figures["s"]
        Path("copy.pth").unlink()
    with record.case("merge") as figures:
        write_adapter(setup.base, Path("lora"))

        def run() -> None:
            merge(
                section("merge", MergeParams, checkpoint="last"),
                base=setup.base,
                codec_checkpoint=CODEC_NAME,
                lora_folder=Path("lora"),
                merged=Path("merged"),
                metrics=Path("metrics.json"),
            )

        times_s = repeat_s(setup.device, run, budget_s=setup.budget_s, most=3)
        figures["s"] = statistics.median(times_s)
        figures["gb_per_s"] = size_gb / figures["s"]
        figures["runs"] = len(times_s)


def write_adapter(base: Path, lora: Path) -> None:
    """Save a random adapter of step 1 and the list of adapters."""
    torch.manual_seed(0)
    adapted = add_adapter(load_dual_ar(base), **section("lora", LoraParams).model_dump())
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.01)
    save_adapter(adapted, lora / "step_000000001")
    steps = [(0, None), (1, "step_000000001")]
    write_checkpoints(lora, [Checkpoint(step=n, val_loss=1.0, folder=name) for n, name in steps])
