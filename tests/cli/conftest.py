"""A project as `dvc repro` leaves it, small, and adapters for its base."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fishdvc.cli.main import main
from fishdvc.model.checkpoint import load_dual_ar

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(
    top: Path, tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The present folder: the demo's base, no merged model, and clips in data/raw."""
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
    """Run ``fishdvc speak`` in the project; returns the exit code and what was printed."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = main(["speak", *arguments])
        return code, *capfd.readouterr()

    return run_command


@pytest.fixture(scope="session")
def base_weights(top: Path) -> dict[str, torch.Tensor]:
    return load_dual_ar(top / "demo_base/checkpoint", dtype=torch.float32).state_dict()


@pytest.fixture
def make_adapter(project: Path, base_weights: dict[str, torch.Tensor]) -> Callable[..., Path]:
    """Write an adapter in PEFT's format that changes what is said."""

    def make(folder: str, seed: int = 0, *, wider_by: int = 0) -> Path:
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for name in ("layers.0.attention.wqkv", "layers.2.feed_forward.w2", "fast_output"):
            rows, columns = base_weights[f"{name}.weight"].shape
            key, columns = f"base_model.model.{name}", columns + wider_by
            a = torch.randn(2, columns, generator=generator) / columns**0.5
            tensors[f"{key}.lora_A.weight"] = a
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) / 2
        path = project / folder
        path.mkdir(parents=True)
        save_file(tensors, path / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
        (path / "adapter_config.json").write_text(json.dumps(config))
        return path

    return make
