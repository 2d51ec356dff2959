"""docs/several-gpus.md and the SLURM script say what dvc.yaml and params.yaml say."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy

from fishdvc.training.trainer import build_trainer

TOP = Path(__file__).parent.parent
GUIDE = (TOP / "docs/several-gpus.md").read_text(encoding="utf-8")
SBATCH = TOP / "docs/slurm/train_lora.sbatch"
SCRIPT = SBATCH.read_text(encoding="utf-8")


def stage_command(stage: str) -> list[str]:
    """The words of a stage's command in dvc.yaml."""
    graph = yaml.safe_load((TOP / "dvc.yaml").read_text())
    command: str = graph["stages"][stage]["cmd"]
    for name, path in graph["vars"][0]["paths"].items():
        command = command.replace(f"${{paths.{name}}}", path)
    return command.split()


def commands(text: str, program: str) -> list[list[str]]:
    """The words of each command line of a program, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(program)]


def sbatch_options() -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SCRIPT, re.MULTILINE))


def test_torchrun_s_stages_have_the_arguments_of_the_pipeline() -> None:
    lines = commands(GUIDE, "torchrun")
    assert len(lines) == 2
    for words, stage in zip(lines, ("train_lora", "extract_vq"), strict=True):
        dashes = words.index("--")
        assert words[dashes - 1] == "-m"
        assert words[dashes + 1 :] == stage_command(stage)[2:]


def test_srun_s_stage_has_the_arguments_of_the_pipeline() -> None:
    ((_, _, *command),) = commands(SCRIPT, "srun")
    assert command == stage_command("train_lora")


def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", SBATCH], check=True)
    head = SCRIPT.splitlines()
    assert head[0] == "#!/bin/bash"
    # After the first command SLURM reads no more options.
    first_command = next(i for i, line in enumerate(head) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(head) if line.startswith("#SBATCH"))


def test_slurm_starts_as_many_processes_as_its_parameters_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = sbatch_options()
    named = dict(re.findall(r"train_lora\.(num_nodes|devices): (\d+)", SCRIPT))
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
    # Lightning writes it where it is missing.
    monkeypatch.setenv("MASTER_ADDR", "gpu-1")
    # Lightning writes the rank of what it builds there, and would take this process for it.
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    trainer = build_trainer(
        max_steps=1,
        val_every_steps=1,
        accumulate_grad_batches=1,
        gradient_clip_norm=0.0,
        accelerator="cpu",
        devices=devices,
        num_nodes=nodes,
        strategy="ddp",
        process_group_backend="gloo",
        precision="32-true",
        loggers=[],
        callbacks=[],
    )
    assert isinstance(trainer.strategy, DDPStrategy)
    environment = trainer.strategy.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    environment.validate_settings(devices, nodes)
    assert (trainer.world_size, trainer.global_rank) == (nodes * devices, devices + 2)
    for wrong in ((devices + 1, nodes), (devices, nodes + 1)):
        with pytest.raises(ValueError, match="does not match"):
            environment.validate_settings(*wrong)


def test_every_parameter_named_exists() -> None:
    params = yaml.safe_load((TOP / "params.yaml").read_text())
    named = re.findall(r"`(normalize|extract_vq|train_lora)\.(\w+)[`:]", GUIDE)
    assert len(named) > 4
    assert [f"{s}.{key}" for s, key in named if key not in params[s]] == []


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE)
    assert len(links) == 2
    assert all((TOP / "docs" / link).is_file() for link in links)
