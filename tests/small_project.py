"""A small project of a user under Git and DVC.

The shipped pipeline on a tiny base, with a voice of 8 short clips and 4 steps of training.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from fishdvc.params import load_yaml

TOP = Path(__file__).parent.parent
ASSETS = TOP / "tests/assets"
CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator"
SHIPPED = (
    "fishdvc",
    "stages",
    "dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    "data/external",
    "data/eval_sentences.txt",
)
VOICE = "data/my-voice"
# Long, because the machine may be busy.
TIMEOUT_S = 1500
STAGES = [
    *("fetch_base", "normalize", "check", "extract_vq", "build_protos"),
    *("train_lora", "evaluate", "merge"),
]
SMALL: dict[str, dict[str, Any]] = {
    "dataset": {"path": VOICE},
    "lora": {"r": 8},
    "train_lora": {
        "max_steps": 4,
        "val_every_steps": 2,
        "checkpoint_every_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "batch_size": 2,
        "max_length": 200,
        "precision": "32-true",
    },
    "machine": {"workers": 1, "accelerator": "cpu"},
    # The optional metrics take longer than all other stages.
    "evaluate": {"sentences": None, "optional_metrics": []},
    "merge": {"checkpoint": "last"},
}


class Project:
    """A clone of a user, used from the command line.

    Args:
        folder: The clone.
        home: Home folder of the user, so that no settings of this machine are read.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        settings = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": home,
            "DVC_SYSTEM_CONFIG_DIR": home / "dvc-system",
            "DVC_SITE_CACHE_DIR": home / "dvc-site",
            "DVC_NO_ANALYTICS": "true",
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
            if not key.startswith(("DVC", "GIT_", "XDG_", "PYTHONPATH"))
        }
        self.environment = inherited | {key: str(value) for key, value in settings.items()}

    def run(self, *command: str) -> str:
        """Run a program that must succeed, and return its output."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def json(self, *command: str) -> Any:
        """Run a program that prints JSON, perhaps after a hint."""
        printed = self.run(*command)
        start = re.search(r"^[\[{]", printed, re.MULTILINE)
        assert start, printed
        return json.loads(printed[start.start() :])

    def set(self, section: str, **values: Any) -> None:
        """Change values in params.yaml."""
        path = self.folder / "params.yaml"
        params = load_yaml(path)
        params[section].update(values)
        path.write_text(yaml.safe_dump(params))

    def commit(self, message: str) -> None:
        """Commit all files that Git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def clone(self, folder: Path) -> "Project":
        """Clone the repository."""
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        return Project(folder, self.home)

    def copy(self, folder: Path) -> "Project":
        """Copy the folder with all ignored files."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, self.home)

    def experiments(self) -> dict[str, dict[str, Any]]:
        """Show experiments on the last commit, by name; the commit itself is ``baseline``."""
        shown = self.json("dvc", "exp", "show", "--json", "--no-pager")
        (baseline,) = (commit for commit in shown if commit["rev"] != "workspace")
        rows = {"baseline": baseline["data"]}
        for experiment in baseline["experiments"] or []:
            rows[experiment["name"]] = experiment["revs"][0]["data"]
        return rows

    def wait_for_queue(self) -> None:
        """Wait until all queued experiments have succeeded."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while re.search(r"Queued|Running", status := self.run("dvc", "queue", "status")):
            assert time.monotonic() < deadline_s, status
            time.sleep(3)
        assert "Failed" not in status, status


def stages_run(printed: str) -> list[str]:
    """Return the names of the stages that DVC ran, from its output."""
    return re.findall(r"Running stage '(\w+)'", printed)


def make_project(folder: Path, home: Path) -> Project:
    """Make a project in which all is committed and no stage has run."""
    project = Project(folder, home)
    for name in SHIPPED:
        source, copy = TOP / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy)
    copy_base(folder / "demo_base/checkpoint")
    for section, values in SMALL.items():
        project.set(section, **values)
    for i in range(8):
        suffix = ("wav", "flac", "mp3")[i % 3]
        path = folder / VOICE / ("ann" if i < 5 else "bob") / f"clip.{i}.{suffix}"
        make_clip(path, seed=i, text=f"This is sentence {i}.")
    home.mkdir(exist_ok=True)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "add", "--quiet", VOICE)
    project.commit("My voice")
    return project


def copy_base(folder: Path) -> None:
    """Copy the small models into a whole base folder in the published format."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json"):
        shutil.copyfile(ASSETS / "text2semantic" / name, folder / name)
    shutil.copyfile(ASSETS / "codec/generator.pth", folder / f"{CODEC_NAME}.pth")
    shutil.copyfile(ASSETS / "codec/config.json", folder / f"{CODEC_NAME}.json")


def make_clip(
    path: Path,
    *,
    seconds: float = 0.6,
    rate_hz: int = 16000,
    seed: int = 0,
    peak: float = 0.5,
    text: str | None = "Hello there.",
) -> Path:
    """Write audio similar to speech, and a transcript beside it unless ``text`` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch_hz = rng.uniform(100, 200)
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 9))
    voice = voice * (1.2 + np.sin(2 * np.pi * 4 * time_s)) + rng.normal(0, 0.1, len(time_s))
    samples = (voice * peak / np.abs(voice).max()).astype(np.float32)
    soundfile.write(path, samples, rate_hz)
    if text is not None:
        path.with_suffix(".lab").write_text(text, encoding="utf-8")
    return path
