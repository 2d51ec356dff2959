"""train_lora resumes an interrupted run with the same result."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fishdvc.pipeline import train_lora as stage
from fishdvc.training.module import AdapterTraining
from fishdvc.training.resume import ResumePoints
from tests.pipeline.training_run import adapters, checkpoints, curves, metrics, train
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
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, step: int, *args: Path, **changes: Any
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
            train(*args, **PARAMS, **changes)


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
    (unfinished,) = CACHE.iterdir()
    capsys.readouterr()
    train(work, base_folder, small_protos, **{**PARAMS, "max_steps": 1})
    first, second = capsys.readouterr().out.splitlines()
    assert "resuming" not in first
    assert "other params, data or code are not resumed: " in second
    assert second.endswith(str(unfinished))
    (CACHE / "of other params").mkdir()
    train(work, base_folder, small_protos, **PARAMS)
    (only,) = capsys.readouterr().out.splitlines()
    assert "resuming" in only


def test_a_run_with_another_number_of_processes_is_not_resumed(
    base_folder: Path, small_protos: Path
) -> None:
    params = (shipped("lora"), shipped("train_lora"), torch.float32, base_folder, small_protos)
    assert stage._run_key(*params, num_processes=1) != stage._run_key(*params, num_processes=2)


def test_a_finished_run_leaves_no_cache(finished: Path) -> None:
    assert list((finished / CACHE).iterdir()) == []


@pytest.fixture(scope="module")
def interrupted(
    base_folder: Path, small_protos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that was stopped after step 6, read only."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        interruption = (AdapterTraining, "training_step", 6)
        train_and_interrupt(patch, *interruption, folder, base_folder, small_protos)
    return folder


@pytest.mark.parametrize(
    ("damaged", "resumed"),
    [
        ("points/step_000000006/trainer.ckpt", "resuming from step_000000004"),
        ("lora/step_000000006/adapter_model.safetensors", "resuming from step_000000004"),
        ("lora/step_000000002/adapter_model.safetensors", None),
    ],
)
def test_a_resume_point_with_a_cut_file_is_not_used(
    damaged: str,
    resumed: str | None,
    interrupted: Path,
    finished: Path,
    base_folder: Path,
    small_protos: Path,
    work: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(interrupted, work, dirs_exist_ok=True)
    (run,) = CACHE.iterdir()
    assert {path.name for path in (run / "points").iterdir()} == {
        "step_000000004",
        "step_000000006",
    }
    with (run / damaged).open("r+b") as file:
        file.truncate(1000)
    train(work, base_folder, small_protos, **PARAMS)
    *rejected, start = capsys.readouterr().out.splitlines()
    assert f"resume point step_000000006 is not used: {run.resolve() / damaged}" in rejected[0]
    assert len(rejected) == (1 if resumed else 2)
    assert resumed in start if resumed else "resuming" not in start
    assert adapters(work) == adapters(finished)
    assert curves(work) == curves(finished)
    assert metrics(work) == metrics(finished)


def test_resume_points_that_are_not_used_are_deleted(interrupted: Path, work: Path) -> None:
    """Otherwise they would count among the newest points, and new ones would be deleted."""
    shutil.copytree(interrupted, work, dirs_exist_ok=True)
    (run,) = CACHE.iterdir()
    for checkpoint in run.glob("points/*/trainer.ckpt"):
        checkpoint.write_bytes(b"")
    assert ResumePoints(run, every_steps=2).latest() is None
    assert list((run / "points").iterdir()) == []


def test_a_run_that_was_stopped_before_its_cleanup_is_not_trained_again(
    finished: Path,
    base_folder: Path,
    small_protos: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stage, "delete_folder", None)
        with pytest.raises(TypeError):
            train(work, base_folder, small_protos, **PARAMS)
    for output in ("lora", "curves"):
        shutil.rmtree(output)
    (run,) = CACHE.iterdir()
    (run / "lora/.fishdvc-1-0.partial/new").mkdir(parents=True)
    (run / "lora/.fishdvc-1-0.partial/new/adapter_model.safetensors").touch()
    monkeypatch.setattr(AdapterTraining, "training_step", None)
    capsys.readouterr()
    train(work, base_folder, small_protos, **PARAMS)
    assert "its result is used" in capsys.readouterr().out
    assert not list(Path("lora").rglob(".*"))
    assert adapters(work) == adapters(finished)
    assert curves(work) == curves(finished)
    assert metrics(work) == metrics(finished)
    assert list(CACHE.iterdir()) == []


def test_a_finished_run_with_a_cut_adapter_is_trained_again(
    finished: Path,
    base_folder: Path,
    small_protos: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stage, "delete_folder", None)
        with pytest.raises(TypeError):
            train(work, base_folder, small_protos, **PARAMS)
    (adapter,) = CACHE.glob("*/lora/step_000000007/adapter_model.safetensors")
    with adapter.open("r+b") as file:
        file.truncate(1000)
    train(work, base_folder, small_protos, **PARAMS)
    assert adapters(work) == adapters(finished)


def test_logs_of_two_attempts_are_not_mixed(
    base_folder: Path, small_protos: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = (work, base_folder, small_protos)
    interruption = (ResumePoints, "on_validation_end", 2)
    train_and_interrupt(monkeypatch, *interruption, *folders, logger="csv")
    train(*folders, **PARAMS, logger="csv")
    rows = csv.DictReader(Path("logs/start/metrics.csv").read_text().splitlines())
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(1, 8))


def test_init_from_continues_an_earlier_adapter(
    finished: Path, base_folder: Path, small_protos: Path, work: Path
) -> None:
    earlier = "data/external/train_lora/step_000000007"
    shutil.copytree(finished / "lora/step_000000007", earlier)
    train(work, base_folder, small_protos, **{**PARAMS, "max_steps": 1, "init_from": earlier})
    first, *_, last = checkpoints(finished)
    assert checkpoints(work)[0]["val_loss"] == pytest.approx(last["val_loss"], abs=1e-5)
    assert last["val_loss"] < first["val_loss"]


def test_the_key_of_a_run_depends_on_everything_that_its_result_depends_on(
    base_folder: Path, small_protos: Path, work: Path
) -> None:
    earlier = work / "data/external/train_lora/earlier"
    earlier.mkdir(parents=True)
    weights = earlier / "adapter_model.safetensors"
    weights.write_bytes(b"1")
    protos = Path(shutil.copytree(small_protos, work / "protos"))

    def key(
        dtype: torch.dtype = torch.float32,
        adapter: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        params = (shipped("lora", **(adapter or {})), shipped("train_lora", **changes))
        return stage._run_key(*params, dtype, base_folder, protos, num_processes=1)

    init_from = {"init_from": "data/external/train_lora/earlier"}
    keys = [key(), key(torch.bfloat16), key(adapter={"r": 3}), key(seed=3), key(**init_from)]
    weights.write_bytes(b"2")
    keys.append(key(**init_from))
    with next(protos.rglob("*.protos")).open("ab") as file:
        file.write(b"\n")
    keys.append(key())
    assert len(set(keys)) == 7
    assert key() == keys[-1]
