"""AdapterCheckpoints: an adapter every N steps, with its validation loss."""

from pathlib import Path
from typing import Any

import pytest

from fishdvc.lora.adapter import load_adapter
from fishdvc.lora.checkpoint_list import read_checkpoints
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.training.checkpoints import AdapterCheckpoints


@pytest.fixture(scope="module")
def folder(
    make_module: Any, make_trainer: Any, loader: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run of 10 steps with an adapter every 4 steps; read only."""
    folder = tmp_path_factory.mktemp("lora")
    module = make_module(learning_rate=1e-2)
    trainer = make_trainer(
        AdapterCheckpoints(module.model, folder, every_steps=4), max_steps=10, val_every_steps=2
    )
    trainer.validate(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    return folder


def test_every_nth_and_the_last_adapter_are_saved(folder: Path) -> None:
    listed = {entry.step: entry.folder for entry in read_checkpoints(folder)}
    steps = [f"step_{step:09d}" for step in (4, 8, 10)]
    assert listed == dict(zip((0, 4, 8, 10), (None, *steps), strict=True))
    assert {path.name for path in folder.iterdir()} == {"checkpoints.json", *steps}


def test_a_saved_adapter_has_the_loss_in_the_list(
    folder: Path, make_module: Any, make_trainer: Any, loader: Any, assets: Path
) -> None:
    losses = []
    for entry in read_checkpoints(folder):
        module = make_module()
        if entry.folder:
            base = load_dual_ar(assets / "text2semantic")
            module.model = load_adapter(base, folder / entry.folder)
        (metrics,) = make_trainer().validate(module, loader, verbose=False)
        assert metrics["val/loss"] == pytest.approx(entry.val_loss, rel=1e-5)
        losses.append(metrics["val/loss"])
    assert len(set(losses)) == 4


def test_a_resumed_run_continues_the_list_without_repeating_steps(
    folder: Path, make_module: Any, make_trainer: Any, loader: Any
) -> None:
    before = read_checkpoints(folder)
    module = make_module()
    resumed = AdapterCheckpoints(module.model, folder, every_steps=4)
    make_trainer(resumed, max_steps=4, val_every_steps=4).fit(module, loader, loader)
    assert resumed.checkpoints == read_checkpoints(folder) == before
