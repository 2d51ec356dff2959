"""The whole pipeline under DVC."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fishdvc.model.checkpoint import load_dual_ar
from tests.small_project import VOICE, Project, stages_run


def test_the_pipeline_writes_adapters_and_a_merged_model(project: Project) -> None:
    data = project.folder / "data"
    metrics = json.loads((data / "metrics/train_lora.json").read_text())
    assert metrics["best_val_loss"] < metrics["untuned_val_loss"]
    assert metrics["coverage"] == 1
    adapters = [path.name for path in sorted((data / "lora").glob("step_*"))]
    assert adapters == ["step_000000002", "step_000000004"]
    chosen = json.loads((data / "evaluation/choice.json").read_text())["checkpoint"]
    assert chosen in adapters
    assert chosen in (data / "evaluation/report/index.html").read_text()
    load_dual_ar(data / "merged")
    assert json.loads((data / "metrics/merge.json").read_text())["merged_step"] == 4
    # Git ignores or tracks all outputs, and no temporary folder is left.
    assert project.run("git", "status", "--porcelain") == ""
    tracked = project.run("git", "ls-files", "data").splitlines()
    inputs = {".gitignore", "my-voice.dvc", "external", "eval_sentences.txt"}
    assert {Path(path).parts[1] for path in tracked} == {*inputs, "metrics"}
    assert not list(data.glob(".*.partial"))


def test_a_second_repro_runs_no_stage(project: Project) -> None:
    printed = project.run("dvc", "repro")
    assert stages_run(printed) == []
    assert "Data and pipelines are up to date." in printed
    assert project.run("git", "status", "--porcelain") == ""


def test_a_new_clip_is_the_only_clip_that_is_processed(
    project: Project, make_clip: Callable[..., Path]
) -> None:
    make_clip(project.folder / VOICE / "bob/new.wav", seed=99)
    printed = project.run("dvc", "repro", "extract_vq")
    assert stages_run(printed) == ["normalize", "extract_vq"]
    normalized, encoded = re.findall(
        r"^(normalize|extract_vq): (\d+) clips.* (\d+) unchanged", printed, re.M
    )
    assert normalized == ("normalize", "9", "8")
    assert encoded == ("extract_vq", "9", "8")


def test_a_bad_clip_fails_the_pipeline_with_an_error_that_names_it(project: Project) -> None:
    (project.folder / VOICE / "ann/clip.0.lab").write_text("")
    with pytest.raises(AssertionError, match=r"data/my-voice/ann/clip\.0\.lab: empty transcript"):
        project.run("dvc", "repro")
    assert not (project.folder / "data/normalized").exists()
    assert not list((project.folder / "data").glob(".*.partial"))
