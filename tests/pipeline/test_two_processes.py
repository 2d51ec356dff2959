"""Two processes that train together, on one machine or two, do what one does with both batches."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from fishdvc.dataset.shards import Sentence, SpeakerGroup, write_shards


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


def stage_command(base: Path, protos: Path, *, outputs: str = ".") -> list[str]:
    """The stage's part of a command line, with outputs below a folder of their own."""
    paths = {"lora": "lora", "logs": "logs", "curves": "curves", "metrics": "metrics.json"}
    paths |= {"too-long": "too_long.txt"}
    options = [word for name, path in paths.items() for word in (f"--{name}", f"{outputs}/{path}")]
    return ["stages.train_lora", "--base", str(base), "--protos", str(protos), *options]


def start(top: Path, folder: Path, command: list[str], **env: str) -> subprocess.Popen[str]:
    common = {"PYTHONPATH": str(top), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=common | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def succeed(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for all, and return what they said."""
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


@pytest.fixture
def write_params(shipped: Any, tmp_path: Path) -> Any:
    """Make a project folder whose params.yaml trains 4 steps, with changes."""

    def write(name: str, **changes: Any) -> Path:
        lora = dataclasses.asdict(shipped("lora", r=2, dropout=0.0))
        lora["targets"] = list(lora["targets"])
        settings: dict[str, Any] = {
            "max_steps": 4,
            "val_every_steps": 2,
            "checkpoint_every_steps": 2,
            "max_length": 80,  # one sentence to a sequence
            "learning_rate": 0.01,
            "accelerator": "cpu",
            "logger": "none",
        }
        params = dataclasses.asdict(shipped("train_lora", **{**settings, **changes}))
        (tmp_path / name).mkdir()
        sections = {"lora": lora, "train_lora": params}
        (tmp_path / name / "params.yaml").write_text(yaml.safe_dump(sections))
        return tmp_path / name

    return write


@pytest.fixture
def one_process(write_params: Any, top: Path, base_folder: Path, tmp_path: Path) -> Path:
    """The folder in which one process has trained with the batch of two; shards beside it."""
    write_protos(tmp_path / "protos")
    folder: Path = write_params("one", batch_size=4, devices=1)
    command = [sys.executable, "-m", *stage_command(base_folder, tmp_path / "protos")]
    succeed([start(top, folder, command)])
    return folder


def assert_trained_alike(alone: Path, together: Path) -> None:
    """Validation losses, curves and the last adapter are the same to within rounding."""
    listed = [json.loads((f / "lora/checkpoints.json").read_text()) for f in (alone, together)]
    assert [entry["step"] for entry in listed[1]] == [0, 2, 4]
    for one, two in zip(*listed, strict=True):
        assert abs(one["val_loss"] - two["val_loss"]) < 1e-5
    assert listed[0][-1]["val_loss"] < listed[0][0]["val_loss"] - 0.01
    one, two = (
        load_file(folder / "lora/step_000000004/adapter_model.safetensors")
        for folder in (alone, together)
    )
    torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-3)
    curves = [
        [float(x) for x in (f / "curves/plots/metrics/train/loss.tsv").read_text().split()[3::2]]
        for f in (alone, together)
    ]
    torch.testing.assert_close(*map(torch.tensor, curves), atol=1e-5, rtol=1e-5)


def test_two_processes_equal_one_with_twice_the_batch(
    write_params: Any, one_process: Path, top: Path, base_folder: Path
) -> None:
    command = [sys.executable, "-m", *stage_command(base_folder, one_process.parent / "protos")]
    for name, changes in (
        ("ddp", {"process_group_backend": "gloo"}),
        ("fsdp", {"gradient_checkpointing": True}),
    ):
        folder = write_params(name, batch_size=2, devices=2, strategy=name, **changes)
        succeed([start(top, folder, command)])
        assert_trained_alike(one_process, folder)


WIRE = "veth0"
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def nodes() -> Iterator[tuple[str, str]]:
    """Two network namespaces that reach each other by a wire between them, and nothing else."""
    if not shutil.which("ip"):
        pytest.skip("no program `ip` (Debian: iproute2) to make network namespaces with")
    names = (f"fishdvc-{os.getpid()}-0", f"fishdvc-{os.getpid()}-1")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                ip("netns", "exec", name, "true")
            here, there = (("name", WIRE, "netns", name) for name in names)
            ip("link", "add", *here, "type", "veth", "peer", *there)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", WIRE)
            ip("-n", name, "link", "set", WIRE, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_two_nodes_equal_one_process_and_only_the_first_one_writes(
    nodes: tuple[str, str], write_params: Any, one_process: Path, top: Path, base_folder: Path
) -> None:
    folder = write_params(
        "two",
        batch_size=2,
        devices=1,
        num_nodes=2,
        strategy="ddp",
        process_group_backend="gloo",
    )
    running = []
    for rank, node in enumerate(nodes):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        launcher += ["--nproc-per-node", "1", "--node-rank", str(rank)]
        launcher += ["--master-addr", ADDRESSES[0], "--master-port", "29500"]
        # Without the two dashes torchrun takes --logs for one of its own options.
        command = stage_command(
            base_folder,
            one_process.parent / "protos",
            outputs="." if rank == 0 else "of_the_other_node",
        )
        running.append(
            start(
                top,
                folder,
                ["ip", "netns", "exec", node, *launcher, "-m", "--", *command],
                GLOO_SOCKET_IFNAME=WIRE,
            )
        )
    first, second = succeed(running)
    assert "train_lora: 4 steps" in first
    assert "train_lora:" not in second
    assert_trained_alike(one_process, folder)
    assert not (folder / "of_the_other_node").exists()
    assert not list(folder.rglob("*.partial"))
