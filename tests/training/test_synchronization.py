"""A training step reads no value of a tensor. On a GPU, that waits for all queued kernels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fishdvc.training.curves import Curves

READERS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::is_nonzero",
    "aten::equal",
    "aten::unique_dim",
    "aten::_unique2",
}


class NoReading(TorchDispatchMode):
    """Raises if an operation reads a value on the host."""

    num_operations = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_operations += 1
        name = func._schema.name
        indices = args[1] if name in ("aten::index", "aten::index_put", "aten::index_put_") else ()
        assert name not in READERS, name
        assert not any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices), name
        return func(*args, **(kwargs or {}))


class WithoutReading(Callback):
    """Forbids reading from the first step to the last."""

    def __init__(self) -> None:
        self.mode = NoReading()

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 0:
            self.mode.__enter__()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == trainer.max_steps:
            self.mode.__exit__(None, None, None)


def test_training_steps_read_no_value_before_metrics_are_written(
    make_module: Any,
    make_trainer: Any,
    loader: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # DVCLive opens the Git repository of the working folder.
    forbid = WithoutReading()
    trainer = make_trainer(Curves(tmp_path / "curves"), forbid, max_steps=4, val_every_steps=4)
    trainer.fit(make_module(warmup_steps=2), loader, loader)
    assert trainer.global_step == 4
    assert forbid.mode.num_operations > 1000
    lines = (tmp_path / "curves/plots/metrics/train/loss.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
