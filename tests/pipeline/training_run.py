"""Run the stage train_lora on a small model, in a folder of its own."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from fishdvc.pipeline.train_lora import train_lora
from tests.sections import shipped
from tests.small_project import TOP

SMALL = {
    "max_steps": 4,
    "val_every_steps": 2,
    "checkpoint_every_steps": 2,
    "batch_size": 1,
    "max_length": 120,
    "warmup_steps": 1,
    "learning_rate": 1e-3,
    "precision": "32-true",
}
STAGE = ("-m", "stages.train_lora")


def train(
    folder: Path,
    base: Path,
    protos: Path,
    *,
    lora: dict[str, Any] | None = None,
    logger: str = "none",
    accelerator: str = "cpu",
    **changes: Any,
) -> str:
    """Write all outputs and the cache below ``folder``; ``changes`` are of section train_lora."""
    folder.mkdir(exist_ok=True)
    with contextlib.chdir(folder):
        return train_lora(
            shipped("lora", **{"r": 2, **(lora or {})}),
            shipped("train_lora", **{**SMALL, **changes}),
            shipped("machine", accelerator=accelerator, devices=1, logger=logger),
            base=base,
            protos=protos,
            lora=Path("lora"),
            logs=Path("logs"),
            curves=Path("curves"),
            too_long=Path("too_long.txt"),
            metrics=Path("metrics.json"),
        )


def write_params(
    folder: Path, *, lora: dict[str, Any], machine: dict[str, Any], **changes: Any
) -> None:
    """Write the params.yaml of ``start``; ``changes`` are of section train_lora."""
    sections = {
        "lora": shipped("lora", **{"r": 2, **lora}),
        "train_lora": shipped("train_lora", **{**SMALL, **changes}),
        "machine": shipped("machine", accelerator="cpu", **machine),
    }
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(plain))


def start(
    folder: Path, base: Path, protos: Path, out: str, *, command: tuple[str, ...] = STAGE
) -> subprocess.Popen[str]:
    """Start the stage as a process in ``folder``, with outputs below ``folder/out``."""
    options = ["--base", base, "--protos", protos, "--too-long", f"{out}/too_long.txt"]
    options += ["--lora", f"{out}/lora", "--logs", f"{out}/logs", "--curves", f"{out}/curves"]
    options += ["--metrics", f"{out}/metrics.json"]
    return subprocess.Popen(
        [sys.executable, *command, *map(str, options)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def adapters(folder: Path) -> dict[str, bytes]:
    """Contents of all files in the folder ``lora/`` of a run."""
    files = sorted((folder / "lora").rglob("*.*"))
    return {str(path.relative_to(folder / "lora")): path.read_bytes() for path in files}


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """The list of a run's adapters."""
    listed: list[dict[str, Any]] = json.loads((folder / "lora/checkpoints.json").read_text())
    return listed


def metrics(folder: Path) -> dict[str, float]:
    """The metrics of a run."""
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return found


def curves(folder: Path) -> dict[str, bytes]:
    """All curves but the throughput."""
    files = (folder / "curves").rglob("*.tsv")
    return {path.name: path.read_bytes() for path in files if path.stem != "tokens_per_second"}


def column(folder: Path, name: str) -> dict[int, float]:
    """A curve of a run, by step."""
    lines = (folder / f"curves/plots/metrics/{name}.tsv").read_text().splitlines()[1:]
    return {int(line.split("\t")[0]): float(line.split("\t")[1]) for line in lines}
