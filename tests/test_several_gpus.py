"""docs/several-gpus.md and the SLURM script agree with dvc.yaml and with Lightning."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy

from fishdvc.machine import MachineParams
from fishdvc.params import read_params
from fishdvc.training.params import TrainLoraParams
from fishdvc.training.trainer import build_trainer

TOP = Path(__file__).parent.parent
GUIDE = (TOP / "docs/several-gpus.md").read_text(encoding="utf-8")
SBATCH = TOP / "docs/slurm/train_lora.sbatch"
SCRIPT = SBATCH.read_text(encoding="utf-8")


def train_command() -> list[str]:
    """Words of the command of train_lora in dvc.yaml."""
    graph = yaml.safe_load((TOP / "dvc.yaml").read_text())
    command: str = graph["stages"]["train_lora"]["cmd"]
    for name, path in graph["vars"][0]["paths"].items():
        command = command.replace(f"${{paths.{name}}}", path)
    return command.split()


def command_line(text: str, program: str) -> list[str]:
    """Words of the only command line of a program, continued lines joined."""
    (line,) = (
        line for line in text.replace("\\\n", " ").splitlines() if line.startswith(f"{program} ")
    )
    return shlex.split(line)


def test_torchrun_gets_the_arguments_of_the_stage() -> None:
    words = command_line(GUIDE, "torchrun")
    dashes = words.index("--")
    assert words[dashes - 1] == "-m"
    assert words[dashes + 1 :] == train_command()[2:]


def test_srun_gets_the_command_of_the_stage() -> None:
    assert command_line(SCRIPT, "srun")[2:] == train_command()


def test_the_slurm_script_is_bash_with_its_options_first() -> None:
    subprocess.run(["bash", "-n", SBATCH], check=True)
    lines = SCRIPT.splitlines()
    assert lines[0] == "#!/bin/bash"
    # SLURM ignores options after the first command.
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(lines) if line.startswith("#SBATCH"))


def test_slurm_starts_as_many_processes_as_params_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SCRIPT, re.MULTILINE))
    named = dict(re.findall(r"machine\.(num_nodes|devices): (\d+)", SCRIPT))
    assert named == {"num_nodes": options["nodes"], "devices": options["ntasks-per-node"]}
    assert options["gpus-per-node"] == options["ntasks-per-node"]
    assert "gpus-per-task" not in options

    nodes, devices = int(options["nodes"]), int(options["ntasks-per-node"])
    for name, value in {
        "SLURM_JOB_NAME": options["job-name"],
        "SLURM_JOB_ID": "1",
        "SLURM_NNODES": str(nodes),
        "SLURM_NTASKS": str(nodes * devices),
        "SLURM_NTASKS_PER_NODE": str(devices),
        "SLURM_NODEID": "1",
        "SLURM_LOCALID": "2",
        "SLURM_PROCID": str(devices + 2),
        "SLURM_NODELIST": "gpu-[1-2]",
    }.items():
        monkeypatch.setenv(name, value)
    # Lightning sets both for the whole process; monkeypatch restores them.
    monkeypatch.setenv("MASTER_ADDR", "gpu-1")
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    machine = read_params(TOP / "params.yaml", "machine", MachineParams)
    several = {"devices": devices, "num_nodes": nodes, "process_group_backend": "gloo"}
    trainer = build_trainer(
        read_params(TOP / "params.yaml", "train_lora", TrainLoraParams),
        machine.model_copy(update={"accelerator": "cpu", **several}),
    )
    assert isinstance(trainer.strategy, DDPStrategy)
    environment = trainer.strategy.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert (trainer.world_size, trainer.global_rank) == (nodes * devices, devices + 2)
    environment.validate_settings(devices, nodes)
    for wrong in ((devices + 1, nodes), (devices, nodes + 1)):
        with pytest.raises(ValueError, match="does not match"):
            environment.validate_settings(*wrong)
