"""A training run that was interrupted goes on as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from fishdvc.pipeline.train_lora import train_lora
from fishdvc.training.module import AdapterTraining

CACHE = Path(".fishdvc_cache/train_lora")


class KilledError(Exception):
    """Stands for whatever ended a run."""


@pytest.fixture
def params(shipped: Any) -> Any:
    return shipped(
        "train_lora",
        max_steps=7,
        val_every_steps=2,
        checkpoint_every_steps=2,
        batch_size=1,
        max_length=150,
        learning_rate=0.01,
        accelerator="cpu",
        logger="none",
    )


def train(lora: Any, params: Any, base: Path, protos: Path, out: Path) -> str:
    return train_lora(
        lora,
        params,
        base=base,
        protos=protos,
        lora_folder=out / "lora",
        logs=out / "logs",
        curves=out / "curves",
        too_long=out / "too_long.txt",
        metrics=out / "metrics.json",
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kill_at_batch(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    step = AdapterTraining.training_step

    def training_step(self: AdapterTraining, *args: Any) -> Tensor:
        if self.num_batches == batch:
            raise KilledError
        return step(self, *args)

    monkeypatch.setattr(AdapterTraining, "training_step", training_step)


@pytest.mark.parametrize("batch", [3, 4, 5])
def test_a_run_that_was_killed_ends_in_the_same_adapters(
    batch: int,
    shipped: Any,
    params: Any,
    base_folder: Path,
    small_protos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lora = shipped("lora", dropout=0.3)
    train(lora, params, base_folder, small_protos, tmp_path / "unbroken")
    with monkeypatch.context() as broken:
        kill_at_batch(broken, batch)
        with pytest.raises(KilledError):
            train(lora, params, base_folder, small_protos, tmp_path / "out")
    assert not (tmp_path / "out/lora").exists()
    capsys.readouterr()

    train(lora, params, base_folder, small_protos, tmp_path / "out")

    last = "step_000000004" if batch >= 4 else "step_000000002"
    assert f"goes on from {last}" in capsys.readouterr().out
    assert contents(tmp_path / "out/lora") == contents(tmp_path / "unbroken/lora")
    curves, unbroken = contents(tmp_path / "out/curves"), contents(tmp_path / "unbroken/curves")
    differing = {name for name in unbroken if curves[name] != unbroken[name]}
    assert differing <= {"plots/metrics/train/tokens_per_second.tsv", "metrics.json"}
    metrics = [json.loads((tmp_path / d / "metrics.json").read_text()) for d in ("out", "unbroken")]
    assert metrics[0] == metrics[1]


def test_another_parameter_starts_anew(
    shipped: Any,
    params: Any,
    base_folder: Path,
    small_protos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as broken:
        kill_at_batch(broken, 5)
        with pytest.raises(KilledError):
            train(shipped("lora"), params, base_folder, small_protos, tmp_path / "out")
    train(shipped("lora", r=2), params, base_folder, small_protos, tmp_path / "out")
    assert "goes on from" not in capsys.readouterr().out


def test_a_finished_run_leaves_nothing_behind(
    shipped: Any, params: Any, base_folder: Path, small_protos: Path, tmp_path: Path
) -> None:
    train(shipped("lora"), params, base_folder, small_protos, tmp_path / "out")
    assert list(CACHE.iterdir()) == []


def test_init_from_goes_on_from_an_earlier_adapter(
    shipped: Any, params: Any, base_folder: Path, small_protos: Path, tmp_path: Path
) -> None:
    train(shipped("lora"), params, base_folder, small_protos, tmp_path / "first")
    last = tmp_path / "first/lora/step_000000007"
    more = shipped("train_lora", **{**vars(params), "init_from": str(last), "max_steps": 2})
    train(shipped("lora"), more, base_folder, small_protos, tmp_path / "second")
    first = json.loads((tmp_path / "first/lora/checkpoints.json").read_text())
    second = json.loads((tmp_path / "second/lora/checkpoints.json").read_text())
    assert second[0]["val_loss"] == pytest.approx(first[-1]["val_loss"], abs=1e-5)
    assert first[-1]["val_loss"] < first[0]["val_loss"]
