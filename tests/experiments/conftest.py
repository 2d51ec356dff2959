"""Small projects under the real Git and DVC; the pipeline runs once for all tests here."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.params import Yaml12Loader

SHIPPED = (
    "fishdvc",
    "stages",
    "dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
)
VOICE = "data/my-voice"
SMALL: dict[str, dict[str, Any]] = {
    "dataset": {"path": VOICE},
    "normalize": {"workers": 1},
    "extract_vq": {"workers": 1},
    "build_protos": {"workers": 0},
    "lora": {"r": 8},
    "train_lora": {
        "max_steps": 4,
        "val_every_steps": 2,
        "checkpoint_every_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "batch_size": 2,
        "max_length": 200,
        "accelerator": "cpu",
        "precision": "32-true",
        "logger": "csv",
    },
    "merge": {"checkpoint": "last"},
}


class Project:
    """A user's clone, worked on from the command line.

    Args:
        folder: The clone.
        home: Stands for the user's home folder, so that no settings of this machine are seen.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        settings = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": home,
            "XDG_CONFIG_HOME": home / "config",
            "XDG_CACHE_HOME": home / "cache",
            "DVC_GLOBAL_CONFIG_DIR": home / "dvc-global",
            "DVC_SYSTEM_CONFIG_DIR": home / "dvc-system",
            "DVC_SITE_CACHE_DIR": home / "dvc-site",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DVC", "GIT_", "AWS_", "SSH_")) and key != "PYTHONPATH"
        }
        self.environment = inherited | {key: str(value) for key, value in settings.items()}

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

    def json(self, *command: str) -> Any:
        """Run a program that prints JSON, perhaps below a hint."""
        printed = self.run(*command)
        start = re.search(r"^[\[{]", printed, re.MULTILINE)
        assert start, printed
        return json.loads(printed[start.start() :])

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def clone(self, folder: Path) -> "Project":
        """Clone what is committed, as a colleague does."""
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        return Project(folder, self.home)

    def experiments(self) -> dict[str, dict[str, Any]]:
        """Show experiments on the last commit, by name; the commit itself is ``baseline``."""
        shown = self.json("dvc", "exp", "show", "--json", "--no-pager")
        (baseline,) = (commit for commit in shown if commit["rev"] != "workspace")
        rows = {"baseline": baseline["data"]}
        for experiment in baseline["experiments"] or []:
            rows[experiment["name"]] = experiment["revs"][0]["data"]
        return rows


@pytest.fixture(scope="session")
def new_project(
    top: Path,
    base_folder: Path,
    make_clip: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project with the shipped pipeline, a small base and a voice of 8 clips; nothing has run."""
    folder = tmp_path_factory.mktemp("new")
    project = Project(folder / "project", folder / "home")
    project.home.mkdir()
    for name in SHIPPED:
        source, copy = top / name, project.folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
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
        path = project.folder / VOICE / ("ann" if i < 5 else "bob") / f"clip{i}.{suffix}"
        make_clip(path, seed=i, text=f"This is sentence {i}.")
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "add", "--quiet", VOICE)
    project.commit("My voice")
    return project


@pytest.fixture(scope="session")
def finished(new_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline has run and its results are committed; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(new_project.folder, folder)
    project = Project(folder, new_project.home)
    project.run("dvc", "repro")
    project.commit("First voice")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to change at will."""
    shutil.copytree(finished.folder, tmp_path / "project")
    return Project(tmp_path / "project", finished.home)


def run_queue(project: Project, jobs: int) -> None:
    """Start workers and wait until all tasks have succeeded and no worker is left."""
    project.run("dvc", "queue", "start", "-j", str(jobs))
    deadline_s = time.monotonic() + 200
    while re.search(r"Queued|Running", status := project.run("dvc", "queue", "status")):
        assert time.monotonic() < deadline_s, status
        time.sleep(3)
    assert "Failed" not in status
    project.run("dvc", "queue", "stop")
    while "0 active, 0 idle" not in (status := project.run("dvc", "queue", "status")):
        assert time.monotonic() < deadline_s, status
        time.sleep(1)


@pytest.fixture(scope="session")
def swept(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after a grid of two ranks, on two workers, and a run of one worker."""
    folder = tmp_path_factory.mktemp("swept") / "project"
    shutil.copytree(finished.folder, folder)
    project = Project(folder, finished.home)
    project.run("dvc", "exp", "run", "-S", "lora.r=2,4", "--queue")
    run_queue(project, jobs=2)
    workers = ("-S", "normalize.workers=2", "-S", "extract_vq.workers=2")
    project.run("dvc", "exp", "run", "--queue", "--name", "workers", *workers)
    run_queue(project, jobs=1)
    yield project
    project.run("dvc", "queue", "stop", "--kill")
