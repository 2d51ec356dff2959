"""A small project as `dvc repro` leaves it, and adapters for its base."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fishdvc.cli.main import main
from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.model.checkpoint import load_dual_ar

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(
    top: Path, tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder: the demo's base, no merged model, and clips in data/raw."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/base").symlink_to(top / "demo_base/checkpoint")
    shutil.copyfile(top / "params.yaml", tmp_path / "params.yaml")
    make_clip(tmp_path / "data/raw/ann/a.wav", seconds=1.0)
    make_clip(tmp_path / "data/raw/ann/b.wav", seconds=1.0, seed=1, text=None)
    make_clip(tmp_path / "data/raw/ann/short.wav", seconds=0.05)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project: Path, capfd: pytest.CaptureFixture[str]) -> Run:  # noqa: ARG001
    """Run ``fishdvc speak`` on the CPU in the project. Returns the exit code, stdout and stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = main(["speak", "--device", "cpu", *arguments])
        return code, *capfd.readouterr()

    return run_command


@pytest.fixture
def make_adapter(project: Path) -> Callable[..., Path]:  # noqa: ARG001
    """Write a random adapter that changes the speech of a model folder."""

    def make(folder: str, seed: int = 0, checkpoint: Path = Path("data/base")) -> Path:
        torch.manual_seed(seed)
        model = load_dual_ar(checkpoint, dtype=torch.float32)
        targets = ("embeddings", "wqkv", "fast_output")
        adapted = add_adapter(model, r=2, alpha=4, dropout=0.0, targets=targets)
        for name, weight in adapted.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(weight, std=0.2)
        Path(folder).parent.mkdir(parents=True, exist_ok=True)
        save_adapter(adapted, folder)
        return Path(folder)

    return make
