"""The trainer: clipping, backend and loggers."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from fishdvc.errors import ParamsError
from fishdvc.training.trainer import build_loggers, build_trainer
from tests.sections import shipped


class NormRecorder(Callback):
    """Records gradient norms after clipping."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_zero_grad(self, _trainer: Any, module: Any, _optimizer: Any) -> None:
        squares = [p.grad.square().sum() for p in module.parameters() if p.grad is not None]
        if squares:
            self.norms.append(float(sum(squares)) ** 0.5)


@pytest.mark.parametrize("max_norm", [0.01, 0.0])
def test_gradients_are_clipped_by_their_norm_unless_it_is_0(
    max_norm: float, make_trainer: Any, make_module: Any, loader: Any
) -> None:
    recorder = NormRecorder()
    make_trainer(recorder, max_steps=2, gradient_clip_norm=max_norm).fit(
        make_module(), loader, loader
    )
    assert recorder.norms
    if max_norm:
        assert recorder.norms == pytest.approx([max_norm] * len(recorder.norms), rel=1e-3)
    else:
        assert min(recorder.norms) > 0.01


def test_the_backend_of_torch_distributed_is_that_of_the_params() -> None:
    machine = shipped("machine", accelerator="cpu", devices=1, process_group_backend="gloo")
    trainer = build_trainer(shipped("train_lora"), machine)
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.strategy._process_group_backend == "gloo"


@pytest.mark.parametrize(
    ("precision", "of_lightning"),
    [("32-true", "32-true"), ("bf16-mixed", "bf16-mixed"), ("bf16-true", "32-true")],
)
def test_lightning_changes_no_types_except_for_mixed_precision(
    precision: str, of_lightning: str, make_trainer: Any
) -> None:
    """The base is loaded in its type, and adapters are float32."""
    assert make_trainer(precision=precision).precision == of_lightning


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process_group_backend": "nccl"}, r"process_group_backend: nccl needs CUDA, got cpu"),
        ({"num_nodes": 2}, r"machine\.num_nodes: 2 machines need torchrun or srun"),
        ({"accelerator": "mps"}, "does not find mps on this machine"),
    ],
)
def test_settings_that_this_machine_cannot_serve_raise(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    machine = shipped("machine", **{"accelerator": "cpu", "devices": 1, **changes})
    with pytest.raises(ParamsError, match=message):
        build_trainer(shipped("train_lora"), machine)


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
