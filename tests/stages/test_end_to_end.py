"""The whole graph under DVC: it runs, runs only what it must, and can be swept."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from fishdvc.model import load_dual_ar
from fishdvc.params import Yaml12Loader

STAGES = ["fetch_base", "normalize", "extract_vq", "build_protos", "train_lora", "merge"]
COPIED = ("fishdvc", "stages", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config")
SMALL: dict[str, dict[str, Any]] = {
    "normalize": {"workers": 1},
    "extract_vq": {"workers": 1},
    "lora": {"r": 4},
    "train_lora": {
        "max_steps": 4,
        "val_every_steps": 2,
        "checkpoint_every_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 1,
        "max_length": 200,
        "accelerator": "cpu",
        "precision": "32-true",
    },
    "merge": {"checkpoint": "last"},
}


class Project:
    """A copy of the project under Git and DVC of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder.parent / "home"
        binaries = Path(sys.executable).parent
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DVC")},
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            **{f"XDG_{name}_HOME": str(home / name) for name in ("CONFIG", "CACHE", "DATA")},
            **{f"DVC_{name}_DIR": str(home / name) for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG")},
            "DVC_SITE_CACHE_DIR": str(home / "site"),
            "DVC_NO_ANALYTICS": "true",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "a@b"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
            "OMP_NUM_THREADS": "1",
        }
        self.environment.pop("PYTHONPATH", None)

    def run(self, *command: str) -> str:
        """Run a program that must succeed; return what it printed."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def json(self, *command: str) -> Any:
        # Hints may stand above what was asked for.
        printed = self.run(*command)
        return json.loads(printed[re.search(r"^[\[{]", printed, re.MULTILINE).start() :])  # type: ignore[union-attr]


def stages_run(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


@pytest.fixture(scope="module")
def finished(
    top: Path,
    base_folder: Path,
    make_clip: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A project in which the pipeline has run once, all committed."""
    project = Project(tmp_path_factory.mktemp("finished") / "project")
    project.folder.mkdir()
    for name in COPIED:
        source, copy = top / name, project.folder / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy)
    shutil.copytree(base_folder, project.folder / "demo_base/checkpoint")
    params = yaml.load((project.folder / "params.yaml").read_text(), Loader=Yaml12Loader)
    for section, values in SMALL.items():
        params[section].update(values)
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params))
    for i in range(8):
        suffix = ("wav", "flac", "mp3")[i % 3]
        path = project.folder / "data/raw" / ("ann" if i < 5 else "bob") / f"clip.{i}.{suffix}"
        make_clip(path, seed=i, text=f"This is sentence {i}.")
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.commit("Begin")
    assert stages_run(project.run("dvc", "repro")) == STAGES
    project.commit("Run")
    return project.folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Project:
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_the_pipeline_leaves_a_voice_and_nothing_else(project: Project) -> None:
    data = project.folder / "data"
    metrics = json.loads((data / "metrics/train_lora.json").read_text())
    assert metrics["best_val_loss"] < metrics["base_val_loss"]
    assert metrics["coverage"] == 1
    adapters = [path.name for path in sorted((data / "lora").glob("step_*"))]
    assert adapters == ["step_000000002", "step_000000004"]
    load_dual_ar(data / "merged")
    assert json.loads((data / "metrics/merge.json").read_text())["merged_step"] == 4
    # Outputs are ignored or committed; nothing half-written is left.
    assert project.run("git", "status", "--porcelain") == ""
    tracked = project.run("git", "ls-files", "data").splitlines()
    assert {Path(path).parts[1] for path in tracked} == {"raw", "metrics"}
    assert not list(data.glob(".*.partial"))


def test_a_second_run_runs_nothing(project: Project) -> None:
    printed = project.run("dvc", "repro")
    assert stages_run(printed) == []
    assert "Data and pipelines are up to date." in printed
    assert project.run("git", "status", "--porcelain") == ""


def test_a_sweep_runs_what_it_must_and_can_be_compared(project: Project) -> None:
    printed = project.run("dvc", "exp", "run", "-S", "lora.r=2")
    assert stages_run(printed) == ["train_lora", "merge"]
    adapter = project.folder / "data/lora/step_000000004/adapter_model.safetensors"
    assert {len(t) for key, t in load_file(adapter).items() if "lora_A." in key} == {2}

    # In a copy of the project, which sees only what Git and DVC keep.
    printed = project.run("dvc", "exp", "run", "--temp", "-S", "normalize.target_loudness_lufs=-20")
    assert stages_run(printed) == STAGES[1:]
    assert "8 clips of 2 speakers" in printed
    cached = project.folder / ".fishdvc_cache/normalize"
    assert len([path for path in cached.rglob("*") if path.is_file()]) == 2 * 8

    (baseline,) = (
        c for c in project.json("dvc", "exp", "show", "--json") if c["rev"] != "workspace"
    )
    rows = [baseline, *(e["revs"][0] for e in baseline["experiments"])]
    assert len(rows) == 3
    found = set()
    for row in rows:
        params = row["data"]["params"]["params.yaml"]["data"]
        metrics = row["data"]["metrics"]
        trained = metrics["data/metrics/train_lora.json"]["data"]
        live = metrics["data/metrics/train_lora/metrics.json"]["data"]
        found.add((params["lora"]["r"], params["normalize"]["target_loudness_lufs"]))
        assert trained["base_val_loss"] > 0
        assert {"loss", "base_loss", "code_loss", "top_5_accuracy"} <= live["val"].keys()
        assert {"learning_rate", "grad_norm", "tokens_per_second"} <= live["train"].keys()
    assert found == {(4, -23.0), (2, -23.0), (2, -20)}

    difference = project.json("dvc", "metrics", "diff", "--json", "main")
    assert "best_val_loss" in difference["data/metrics/train_lora.json"]
    shown = project.json("dvc", "plots", "show", "--json")
    graph = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    assert {name for plot in graph["plots"] for name in plot} <= shown["data"].keys()
    assert not shown.get("errors")


def test_adding_a_clip_costs_one_clip(project: Project, make_clip: Callable[..., Path]) -> None:
    make_clip(project.folder / "data/raw/bob/new.wav", seed=99)
    printed = project.run("dvc", "repro", "extract_vq")
    assert stages_run(printed) == ["normalize", "extract_vq"]
    normalized, encoded = re.findall(
        r"^(normalize|extract_vq): (\d+) clips.* (\d+) unchanged", printed, re.M
    )
    assert normalized == ("normalize", "9", "8")
    assert encoded == ("extract_vq", "9", "8")


def test_a_bad_clip_stops_the_pipeline_with_its_name(project: Project) -> None:
    (project.folder / "data/raw/ann/clip.0.lab").write_text("")
    with pytest.raises(AssertionError, match=r"data/raw/ann/clip\.0\.lab: empty transcript"):
        project.run("dvc", "repro")
    assert not (project.folder / "data/normalized").exists()
    assert not list((project.folder / "data").glob(".*.partial"))
