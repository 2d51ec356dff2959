"""Two processes that train together do what one does with twice the batch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from fishdvc.dataset import Sentence, SpeakerGroup
from fishdvc.dataset.shards import write_shards


def write_protos(folder: Path) -> None:
    """Eight sentences of equal numbers of tokens but unequal numbers of labels."""
    rng = np.random.default_rng(0)

    def group(first: int, count: int) -> SpeakerGroup:
        sentences = []
        for i in range(first, first + count):
            num_frames = 6 + 3 * (i % 4)
            codes = rng.integers(1, 1000, (8, num_frames))
            sentences.append(Sentence(texts=(f"{i}{'.' * (40 - num_frames)}",), codes=codes))
        return SpeakerGroup(name="ann", source="folder", sentences=tuple(sentences))

    write_shards(folder / "train", [group(0, 8)], 10**7)
    write_shards(folder / "val", [group(8, 2)], 10**7)


def train(top: Path, out: Path, base: Path, protos: Path, sections: dict[str, Any]) -> None:
    out.mkdir()
    (out / "params.yaml").write_text(yaml.safe_dump(sections))
    paths = {"lora": "lora", "logs": "logs", "curves": "curves", "metrics": "metrics.json"}
    paths |= {"too-long": "too_long.txt", "base": base, "protos": protos}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    subprocess.run(
        [sys.executable, "-m", "stages.train_lora", *options],
        cwd=out,
        env={"PYTHONPATH": str(top), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )


def test_two_processes_equal_one_with_twice_the_batch(
    shipped: Any, base_folder: Path, top: Path, tmp_path: Path
) -> None:
    write_protos(tmp_path / "protos")
    lora = dataclasses.asdict(shipped("lora", r=2, dropout=0.0))
    lora["targets"] = list(lora["targets"])
    common: dict[str, Any] = {
        "max_steps": 4,
        "val_every_steps": 2,
        "checkpoint_every_steps": 2,
        "max_length": 80,  # one sentence to a sequence
        "learning_rate": 0.01,
        "accelerator": "cpu",
        "logger": "none",
    }
    one = shipped("train_lora", **common, batch_size=4, devices=1)
    two = shipped(
        "train_lora",
        **common,
        batch_size=2,
        devices=2,
        strategy="ddp",
        process_group_backend="gloo",
    )
    for name, params in (("one", one), ("two", two)):
        sections = {"lora": lora, "train_lora": dataclasses.asdict(params)}
        train(top, tmp_path / name, base_folder, tmp_path / "protos", sections)

    listed = [
        json.loads((tmp_path / name / "lora/checkpoints.json").read_text())
        for name in ("one", "two")
    ]
    assert [entry["step"] for entry in listed[1]] == [0, 2, 4]
    for alone, together in zip(*listed, strict=True):
        assert abs(alone["val_loss"] - together["val_loss"]) < 1e-5
    assert listed[0][-1]["val_loss"] < listed[0][0]["val_loss"] - 0.01
    alone, together = (
        load_file(tmp_path / name / "lora/step_000000004/adapter_model.safetensors")
        for name in ("one", "two")
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-3)
    curves = [
        (tmp_path / name / "curves/plots/metrics/train/loss.tsv").read_text().split()[3::2]
        for name in ("one", "two")
    ]
    torch.testing.assert_close(
        torch.tensor([float(x) for x in curves[1]]),
        torch.tensor([float(x) for x in curves[0]]),
        atol=1e-5,
        rtol=1e-5,
    )
