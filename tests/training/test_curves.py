"""Curves: values that are not finite end a run before the next validation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from fishdvc.errors import ParamsError
from fishdvc.training.curves import Curves


class Diverging(Callback):
    """Makes the loss of the second step infinite."""

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step == 2:
            module.step_tensors = torch.full_like(module.step_tensors, torch.inf)


def test_a_step_that_is_not_finite_ends_the_run_before_the_next_validation(
    make_module: Any,
    make_trainer: Any,
    loader: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # DVCLive opens the Git repository of the working folder.
    monkeypatch.setattr("fishdvc.training.curves.WRITE_EVERY_STEPS", 3)
    trainer = make_trainer(Diverging(), Curves(tmp_path / "curves"), max_steps=9, val_every_steps=9)
    with pytest.raises(ParamsError, match="diverged: train/loss is inf at step 2"):
        trainer.fit(make_module(), loader, loader)
    assert trainer.global_step == 3
