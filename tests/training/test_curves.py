"""Curves: metrics by optimizer step, in DVCLive's files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fishdvc.training.curves import Curves


def column(folder: Path, name: str) -> dict[int, float]:
    lines = (folder / f"plots/metrics/{name}.tsv").read_text().splitlines()
    assert lines[0] == f"step\t{name.split('/')[-1]}"
    return {int(line.split("\t")[0]): float(line.split("\t")[1]) for line in lines[1:]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "curves"


def test_steps_are_optimizer_steps_and_0_is_the_base(
    folder: Path, make_module: Any, make_trainer: Any, loader: Any
) -> None:
    trainer = make_trainer(Curves(folder), accumulate_grad_batches=2, max_steps=4)
    module = make_module()
    (base,) = trainer.validate(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    assert column(folder, "train/loss").keys() == {1, 2, 3, 4}
    assert column(folder, "val/loss").keys() == {0, 2, 4}
    assert column(folder, "val/loss")[0] == pytest.approx(base["val/loss"])
    last = json.loads((folder / "metrics.json").read_text())
    assert last["step"] == 4
    assert last["val"]["loss"] == pytest.approx(column(folder, "val/loss")[4])
    assert last["train"]["loss"] == pytest.approx(column(folder, "train/loss")[4])
    # By default DVCLive would also write dvc.yaml.
    assert [path.name for path in folder.parent.iterdir()] == ["curves"]
    assert not (folder / "dvc.yaml").exists()


def test_the_curves_of_an_earlier_run_are_deleted_or_resumed(
    folder: Path, make_module: Any, make_trainer: Any, loader: Any
) -> None:
    make_trainer(Curves(folder), max_steps=2).fit(make_module(), loader, loader)
    copy = shutil.copytree(folder, folder.with_name("copy"))

    make_trainer(Curves(folder), max_steps=1).validate(make_module(), loader, verbose=False)
    assert not (folder / "plots/metrics/train/loss.tsv").exists()
    assert column(folder, "val/loss").keys() == {0}

    resumed = make_trainer(Curves(folder, resume_from=copy), max_steps=1)
    resumed.validate(make_module(), loader, verbose=False)
    assert column(folder, "train/loss") == column(copy, "train/loss")
    assert column(folder, "val/loss").keys() == {2, 0}
