"""The trainer: optimizer steps, clipping, silence, backend and loggers."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from fishdvc.errors import ParamsError
from fishdvc.training.trainer import build_loggers, build_trainer
from tests.sections import shipped


class Recorder(Callback):
    """Records the optimizer steps of validations, and gradient norms after clipping."""

    def __init__(self) -> None:
        self.validations: list[int] = []
        self.norms: list[float] = []

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.validations.append(trainer.global_step)

    def on_before_zero_grad(self, _trainer: Any, module: Any, _optimizer: Any) -> None:
        squares = [p.grad.square().sum() for p in module.parameters() if p.grad is not None]
        if squares:
            self.norms.append(float(sum(squares)) ** 0.5)


@pytest.mark.parametrize(("max_steps", "val_every_steps", "accumulate"), [(6, 3, 2), (9, 3, 1)])
def test_steps_are_optimizer_steps_across_epochs(
    max_steps: int,
    val_every_steps: int,
    accumulate: int,
    make_trainer: Any,
    make_module: Any,
    loader: Any,
) -> None:
    recorder = Recorder()
    trainer = make_trainer(
        recorder,
        max_steps=max_steps,
        val_every_steps=val_every_steps,
        checkpoint_every_steps=val_every_steps,
        accumulate_grad_batches=accumulate,
    )
    module = make_module()
    trainer.fit(module, loader, loader)
    assert trainer.global_step == max_steps
    assert recorder.validations == list(range(val_every_steps, max_steps + 1, val_every_steps))
    assert module.num_batches == max_steps * accumulate


@pytest.mark.parametrize("max_norm", [0.01, 0.0])
def test_gradients_are_clipped_by_their_norm_unless_it_is_0(
    max_norm: float, make_trainer: Any, make_module: Any, loader: Any
) -> None:
    recorder = Recorder()
    make_trainer(recorder, max_steps=2, gradient_clip_norm=max_norm).fit(
        make_module(), loader, loader
    )
    assert recorder.norms
    if max_norm:
        assert recorder.norms == pytest.approx([max_norm] * len(recorder.norms), rel=1e-3)
    else:
        assert min(recorder.norms) > 0.01


def test_nothing_is_printed_or_written_without_a_terminal(
    make_trainer: Any,
    make_module: Any,
    loader: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_trainer(max_steps=2).fit(make_module(), loader, loader)
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_backend_of_torch_distributed_is_that_of_the_params() -> None:
    machine = shipped("machine", accelerator="cpu", devices=1, process_group_backend="gloo")
    trainer = build_trainer(shipped("train_lora"), machine, loggers=[], callbacks=[])
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.strategy._process_group_backend == "gloo"


def test_loggers_are_built_by_name(tmp_path: Path) -> None:
    (csv,) = build_loggers(tmp_path, "csv")
    assert isinstance(csv, CSVLogger)
    assert Path(csv.log_dir) == tmp_path
    assert build_loggers(tmp_path, "none") == []


def test_a_logger_that_is_not_installed_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("fishdvc.training.trainer.TensorBoardLogger", missing)
    with pytest.raises(ParamsError, match=r"pip install tensorboard, or set machine\.logger: csv"):
        build_loggers(tmp_path, "tensorboard")
