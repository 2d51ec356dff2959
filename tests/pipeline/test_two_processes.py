"""Two processes, on one machine or two, train like one process with the batches of both."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from tests.pipeline.training_run import checkpoints, column, start, train, write_params

PARAMS = {"max_length": 80, "learning_rate": 0.01}  # one sentence per sequence
LORA = {"r": 2, "dropout": 0.0}
GLOO = {"process_group_backend": "gloo"}
SCRIPT = """
import os
import signal
import sys
from torch import distributed
from fishdvc.training.module import AdapterTraining
from stages.command import run_stage
from stages.train_lora import main

train_batch = AdapterTraining.training_step

def train_two_batches(self, *args):
    if self.num_batches == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_batch(self, *args)

def main_then_disconnected():
    summary = main()
    # A connected process may abort when it exits, and torchrun then waits for it.
    assert not distributed.is_initialized()
    return summary

if "--kill" in sys.argv:
    AdapterTraining.training_step = train_two_batches
if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if word != "--kill"]
    run_stage(main_then_disconnected)
"""


@pytest.fixture
def protos(work: Path) -> Path:
    """Six sentences with equal numbers of tokens but different numbers of labels.

    With two processes, one training batch and one validation batch are empty.
    """
    rng = np.random.default_rng(0)

    def sentence(i: int) -> Sentence:
        num_frames = 6 + 3 * (i % 4)
        codes = rng.integers(1, 1000, (8, num_frames))
        return Sentence(texts=(f"{i}{'.' * (40 - num_frames)}",), codes=codes)

    for split, numbers in (("train", range(5)), ("val", range(5, 6))):
        group = SpeakerGroup("ann", "folder", tuple(map(sentence, numbers)))
        write_shards(work / "protos" / split, [group], 10**7)
        clips = {"ann": [f"ann/{i}" for i in numbers]}
        (work / "protos" / split / CLIP_LIST).write_text(json.dumps(clips))
    return work / "protos"


def finish(processes: list[subprocess.Popen[str]]) -> tuple[list[str], list[int]]:
    """Wait for all processes, and return what they printed and their exit codes."""
    try:
        # torchrun waits 300 s for the other node if that one failed, and then ends well.
        printed = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return printed, [process.returncode for process in processes]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def test_two_processes_train_and_resume_like_one_with_twice_the_batch(
    base_folder: Path, protos: Path, work: Path
) -> None:
    train(work / "one", base_folder, protos, lora=LORA, batch_size=2, **PARAMS)

    # Two processes of Lightning's launcher, killed after two of four steps.
    (work / "script.py").write_text(SCRIPT)
    write_params(work, lora=LORA, machine={**GLOO, "devices": 2}, **PARAMS)
    (printed,), codes = finish(
        [start(work, base_folder, protos, "two", command=("script.py", "--kill"))]
    )
    assert codes == [-signal.SIGKILL], printed
    assert not (work / "two/lora").exists()

    # Resumed by torchrun on two nodes of one process each. Without the two dashes torchrun would
    # read --logs as an option of its own.
    machine = {**GLOO, "devices": 1, "num_nodes": 2}
    write_params(work, lora=LORA, machine=machine, **PARAMS)
    torchrun = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")
    torchrun += ("--master-addr", "127.0.0.1", "--master-port", str(free_port()), "--node-rank")
    nodes = [
        start(work, base_folder, protos, out, command=(*torchrun, str(rank), "--", "script.py"))
        for rank, out in enumerate(("two", "second"))
    ]
    (first, second), codes = finish(nodes)
    assert codes == [0, 0], first + second
    assert "resuming from step_000000002" in first
    assert "train_lora:" not in second
    assert not (work / "second").exists()

    one, two = work / "one", work / "two"
    losses = [[entry["val_loss"] for entry in checkpoints(folder)] for folder in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[1][-1] < losses[1][0] - 0.01
    curves = [column(folder, "train/loss") for folder in (one, two)]
    assert curves[1] == pytest.approx(curves[0], rel=1e-5, abs=1e-5)
    last = "lora/step_000000004/adapter_model.safetensors"
    torch.testing.assert_close(load_file(two / last), load_file(one / last), atol=1e-5, rtol=1e-3)
