"""A run is resumed only if nothing changed that its result depends on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fishdvc.pipeline import train_lora as stage
from fishdvc.storage.imports import TOP, imported_files
from tests.sections import shipped

SOURCES = ["pipeline/train_lora.py", "text/prompt.py", "text/tokenizer.py", "training/module.py"]
BASE_FILES = ["model.pth", "config.json", "tokenizer.tiktoken", "special_tokens.json"]


@pytest.fixture
def key(base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Compute the key of a run, with copies of the sources and of the base that may change."""
    sources = imported_files(Path(stage.__file__))
    for path in sources:
        copy = tmp_path / path.relative_to(TOP)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    copies = [tmp_path / path.relative_to(TOP) for path in sources]
    monkeypatch.setattr(stage, "imported_files", lambda _: copies)
    shutil.copytree(base_folder, tmp_path / "base")
    params = (shipped("lora"), shipped("train_lora"), torch.float32, tmp_path / "base", tmp_path)
    return lambda: stage._run_key(*params, num_processes=1)


@pytest.mark.parametrize(
    "name", [*(f"fishdvc/{name}" for name in SOURCES), *(f"base/{name}" for name in BASE_FILES)]
)
def test_a_change_of_code_or_base_changes_the_key(
    name: str, key: Callable[[], str], tmp_path: Path
) -> None:
    before = key()
    assert key() == before
    with (tmp_path / name).open("ab") as file:
        file.write(b"\n")
    assert key() != before
