"""The trainer: steps counted as asked for, loggers as asked for, quiet where nobody looks."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from fishdvc.errors import ParamsError
from fishdvc.training.trainer import build_loggers


class Recorder(Callback):
    """Notes the optimizer steps at which validation took place."""

    def __init__(self) -> None:
        self.validations: list[int] = []

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.validations.append(trainer.global_step)


@pytest.mark.parametrize(
    ("max_steps", "val_every_steps", "accumulate"), [(6, 2, 1), (6, 3, 2), (9, 3, 1), (4, 1, 4)]
)
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
        accumulate_grad_batches=accumulate,
    )
    module = make_module()
    trainer.fit(module, loader, loader)
    assert trainer.global_step == max_steps
    assert recorder.validations == list(range(val_every_steps, max_steps + 1, val_every_steps))
    assert module.num_batches == max_steps * accumulate


def test_the_gradient_is_clipped_by_its_norm(
    make_trainer: Any, make_module: Any, loader: Any
) -> None:
    norms = []

    class Norms(Callback):
        def on_before_optimizer_step(self, _t: Any, module: Any, _o: Any) -> None:
            total = sum(p.grad.square().sum() for p in module.parameters() if p.grad is not None)
            norms.append(float(total.sqrt()))

        def on_before_zero_grad(self, _t: Any, module: Any, _o: Any) -> None:
            found = [p.grad.square().sum() for p in module.parameters() if p.grad is not None]
            if found:
                clipped.append(float(sum(found)) ** 0.5)

    clipped: list[float] = []
    make_trainer(Norms(), max_steps=2, gradient_clip_norm=0.01).fit(make_module(), loader, loader)
    assert min(norms) > 0.01
    assert clipped
    assert clipped == pytest.approx([0.01] * len(clipped), rel=1e-3)
    clipped.clear()
    make_trainer(Norms(), max_steps=2, gradient_clip_norm=0.0).fit(make_module(), loader, loader)
    assert min(clipped) > 0.01


def test_nothing_is_drawn_or_kept_where_nobody_looks(
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


def test_a_backend_makes_several_devices_talk_by_it(make_trainer: Any) -> None:
    strategy = make_trainer(process_group_backend="gloo").strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy._process_group_backend == "gloo"
    assert not isinstance(make_trainer().strategy, DDPStrategy)


def test_loggers_are_made_by_name(tmp_path: Path) -> None:
    (csv,) = build_loggers(tmp_path, "csv")
    assert isinstance(csv, CSVLogger)
    assert Path(csv.log_dir) == tmp_path
    assert build_loggers(tmp_path, "none") == []


def test_a_logger_that_is_not_installed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("fishdvc.training.trainer.TensorBoardLogger", missing)
    with pytest.raises(ParamsError, match=r"pip install tensorboard, or set train_lora\.logger"):
        build_loggers(tmp_path, "tensorboard")
