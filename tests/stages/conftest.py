"""Run stages as a user does: with dvc.yaml's own commands, in a project of their own."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.params import load_yaml

CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
SMALL: dict[str, dict[str, Any]] = {
    "base": {"source": "demo_base/checkpoint"},
    "lora": {"r": 4},
    "train_lora": {
        "max_steps": 2,
        "val_every_steps": 1,
        "checkpoint_every_steps": 1,
        "batch_size": 2,
        "max_length": 200,
    },
    "machine": {"workers": 1, "accelerator": "cpu", "logger": "none"},
}


def change_params(path: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Set values in a params.yaml."""
    params = load_yaml(path)
    for section, values in changes.items():
        params[section].update(values)
    path.write_text(yaml.safe_dump(params))


class Project:
    """A project folder with the shipped dvc.yaml and params.yaml, made small."""

    def __init__(self, folder: Path, top: Path, base: Path, capsys: Any) -> None:
        self.folder = folder
        self.capsys = capsys
        (folder / "demo_base").mkdir()
        (folder / "demo_base/checkpoint").symlink_to(base)
        (folder / "params.yaml").write_text((top / "params.yaml").read_text())
        self.set(SMALL)
        graph = yaml.safe_load((top / "dvc.yaml").read_text())
        paths = graph["vars"][0]["paths"]
        self.commands = {}
        for stage, spec in graph["stages"].items():
            command = spec["cmd"]
            for name, path in paths.items():
                command = command.replace(f"${{paths.{name}}}", path)
            self.commands[stage] = command.split()

    def set(self, changes: dict[str, dict[str, Any]]) -> None:
        change_params(self.folder / "params.yaml", changes)

    def run(self, *stages: str) -> str:
        """Run stages within this process; return what they printed."""
        argv = sys.argv
        self.capsys.readouterr()
        try:
            for stage in stages:
                python, option, module, *arguments = self.commands[stage]
                assert (python, option) == ("python", "-m")
                sys.argv = [module, *arguments]
                sys.modules.pop(module, None)
                runpy.run_module(module, run_name="__main__")
        finally:
            sys.argv = argv
        return str(self.capsys.readouterr().out)

    def fail(self, stage: str) -> str:
        """Run a stage that must end with a user's error; return its message.

        Nothing that is there may change, and nothing may be added.
        """
        before = self.contents()
        with pytest.raises(SystemExit) as caught:
            self.run(stage)
        # sys.exit with a text prints it to stderr and ends with code 1.
        assert isinstance(caught.value.code, str)
        assert caught.value.code.startswith("error: ")
        assert "Traceback" not in caught.value.code
        assert self.contents() == before
        return caught.value.code

    def contents(self) -> dict[str, bytes]:
        """Every file that a stage may write, but for the cache."""
        data = self.folder / "data"
        return {
            path.relative_to(data).as_posix(): path.read_bytes()
            for path in sorted(data.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def project(
    tmp_path: Path,
    top: Path,
    base_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_clip: Callable[..., Path],
) -> Project:
    """A project with two speakers, eight clips and nothing run yet."""
    monkeypatch.chdir(tmp_path)
    found = Project(tmp_path, top, base_folder, capsys)
    for i in range(6):
        suffix = ("wav", "flac", "mp3")[i % 3]
        make_clip(tmp_path / f"data/raw/ann/{i}.5.{suffix}", seed=i, text=f"Sentence {i}.")
    for i in range(2):
        make_clip(tmp_path / f"data/raw/bob/{i}.wav", seed=9 + i, seconds=0.3, text=f"Satz {i}.")
    return found
