"""An adapter every N steps, each with the loss it had."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fishdvc.lora.adapter import load_adapter
from fishdvc.lora.checkpoint_list import read_checkpoints
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.training.checkpoints import AdapterCheckpoints


def test_all_are_kept_with_their_losses_and_the_last_too(
    make_module: Any, make_trainer: Any, loader: Any, tmp_path: Path
) -> None:
    module = make_module()
    checkpoints = AdapterCheckpoints(module.model, tmp_path / "lora", every_steps=4)
    (tmp_path / "lora").mkdir()
    trainer = make_trainer(checkpoints, max_steps=10)
    trainer.validate(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    listed = read_checkpoints(tmp_path / "lora")
    assert listed == checkpoints.checkpoints
    assert [entry.step for entry in listed] == [0, 4, 8, 10]
    assert [entry.folder for entry in listed] == [
        None,
        "step_000000004",
        "step_000000008",
        "step_000000010",
    ]
    folders = {path.name for path in (tmp_path / "lora").iterdir()} - {"checkpoints.json"}
    assert folders == {entry.folder for entry in listed if entry.folder}
    assert listed[-1].val_loss == pytest.approx(float(trainer.callback_metrics["val/loss"]))


def test_a_saved_adapter_has_the_loss_in_the_list(
    make_module: Any, make_trainer: Any, loader: Any, assets: Path, tmp_path: Path
) -> None:
    module = make_module(learning_rate=1e-2)
    make_trainer(AdapterCheckpoints(module.model, tmp_path, every_steps=2)).fit(
        module, loader, loader
    )
    for entry in read_checkpoints(tmp_path):
        again = make_module()
        again.model = load_adapter(
            load_dual_ar(assets / "text2semantic"), tmp_path / str(entry.folder)
        )
        (figures,) = make_trainer().validate(again, loader, verbose=False)
        assert figures["val/loss"] == pytest.approx(entry.val_loss, rel=1e-5)


def test_a_resumed_run_goes_on_with_the_list(
    make_module: Any, make_trainer: Any, loader: Any, tmp_path: Path
) -> None:
    module = make_module()
    make_trainer(AdapterCheckpoints(module.model, tmp_path, every_steps=2)).fit(
        module, loader, loader
    )
    resumed = AdapterCheckpoints(module.model, tmp_path, every_steps=2)
    assert [entry.step for entry in resumed.checkpoints] == [2, 4]


def test_adapters_of_different_steps_differ(
    make_module: Any, make_trainer: Any, loader: Any, tmp_path: Path
) -> None:
    module = make_module()
    make_trainer(AdapterCheckpoints(module.model, tmp_path, every_steps=2)).fit(
        module, loader, loader
    )
    first, second = (path.read_bytes() for path in sorted(tmp_path.rglob("*.safetensors")))
    assert first != second
    assert torch.is_grad_enabled()
