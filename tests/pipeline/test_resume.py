"""train_lora resumes an interrupted run with the same result."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fishdvc.pipeline.train_lora import _run_key
from fishdvc.training.module import AdapterTraining
from fishdvc.training.resume import ResumePoints
from tests.pipeline.training_run import adapters, checkpoints, metrics, train
from tests.sections import shipped

CACHE = Path(".fishdvc_cache/train_lora")
PARAMS = {"max_steps": 7, "max_length": 150, "learning_rate": 0.01, "lora": {"dropout": 0.3}}


class InterruptionError(Exception):
    """Interrupts a run."""


@pytest.fixture(scope="module")
def finished(
    base_folder: Path, small_protos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of an uninterrupted run, read only."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder, base_folder, small_protos, **PARAMS)
    return folder


def train_and_interrupt(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, step: int, *args: Path
) -> None:
    """Raise an error instead of calling a method at an optimizer step."""
    method = getattr(owner, name)

    def interrupted(self: Any, *given: Any) -> Any:
        trainer = self.trainer if owner is AdapterTraining else given[0]
        if trainer.global_step == step:
            raise InterruptionError
        return method(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(InterruptionError):
            train(*args, **PARAMS)


def curves(folder: Path) -> dict[str, bytes]:
    """All curves but the throughput."""
    files = (folder / "curves").rglob("*.tsv")
    return {path.name: path.read_bytes() for path in files if path.stem != "tokens_per_second"}


@pytest.mark.parametrize(
    ("owner", "name", "step", "point"),
    [
        (AdapterTraining, "training_step", 1, None),
        (AdapterTraining, "training_step", 3, 2),
        (AdapterTraining, "training_step", 6, 6),  # an epoch has 3 batches
        (ResumePoints, "on_validation_end", 4, 2),  # after the adapter is saved
    ],
)
def test_a_resumed_run_has_the_same_adapters_curves_and_metrics(
    owner: type,
    name: str,
    step: int,
    point: int | None,
    finished: Path,
    base_folder: Path,
    small_protos: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_and_interrupt(monkeypatch, owner, name, step, work, base_folder, small_protos)
    assert not Path("lora").exists()
    capsys.readouterr()
    train(work, base_folder, small_protos, **PARAMS)
    printed = capsys.readouterr().out
    assert "resuming" not in printed if point is None else f"from step_00000000{point}" in printed
    assert adapters(work) == adapters(finished)
    assert curves(work) == curves(finished)
    assert metrics(work) == metrics(finished)


def test_a_run_with_other_params_is_not_resumed(
    base_folder: Path,
    small_protos: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interruption = (AdapterTraining, "training_step", 2)
    train_and_interrupt(monkeypatch, *interruption, work, base_folder, small_protos)
    assert list(CACHE.rglob("trainer.ckpt"))
    train(work, base_folder, small_protos, **{**PARAMS, "max_steps": 1})
    assert "resuming" not in capsys.readouterr().out


def test_a_run_with_another_number_of_processes_is_not_resumed(
    base_folder: Path, small_protos: Path
) -> None:
    params = (shipped("lora"), shipped("train_lora"), torch.float32, base_folder, small_protos)
    assert _run_key(*params, num_processes=1) != _run_key(*params, num_processes=2)


def test_a_finished_run_leaves_no_cache(finished: Path) -> None:
    assert list((finished / CACHE).iterdir()) == []


def test_init_from_continues_an_earlier_adapter(
    finished: Path, base_folder: Path, small_protos: Path, work: Path
) -> None:
    earlier = "data/external/train_lora/step_000000007"
    shutil.copytree(finished / "lora/step_000000007", earlier)
    train(work, base_folder, small_protos, **{**PARAMS, "max_steps": 1, "init_from": earlier})
    first, *_, last = checkpoints(finished)
    assert checkpoints(work)[0]["val_loss"] == pytest.approx(last["val_loss"], abs=1e-5)
    assert last["val_loss"] < first["val_loss"]
