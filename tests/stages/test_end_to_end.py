"""The whole graph under DVC: it runs, runs only what it must, and can be swept."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from fishdvc.model.checkpoint import load_dual_ar
from tests.small_project import STAGES, VOICE, Project, stages_run


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to change at will."""
    return finished.copy(tmp_path / "project")


def test_the_pipeline_leaves_a_voice_and_nothing_else(project: Project) -> None:
    data = project.folder / "data"
    metrics = json.loads((data / "metrics/train_lora.json").read_text())
    assert metrics["best_val_loss"] < metrics["untuned_val_loss"]
    assert metrics["coverage"] == 1
    adapters = [path.name for path in sorted((data / "lora").glob("step_*"))]
    assert adapters == ["step_000000002", "step_000000004"]
    load_dual_ar(data / "merged")
    assert json.loads((data / "metrics/merge.json").read_text())["merged_step"] == 4
    # Outputs are ignored or committed; nothing half-written is left.
    assert project.run("git", "status", "--porcelain") == ""
    tracked = project.run("git", "ls-files", "data").splitlines()
    assert {Path(path).parts[1] for path in tracked} == {".gitignore", "my-voice.dvc", "metrics"}
    assert not list(data.glob(".*.partial"))


def test_a_second_run_runs_nothing(project: Project) -> None:
    printed = project.run("dvc", "repro")
    assert stages_run(printed) == []
    assert "Data and pipelines are up to date." in printed
    assert project.run("git", "status", "--porcelain") == ""


def test_a_sweep_runs_what_it_must_and_can_be_compared(project: Project) -> None:
    printed = project.run("dvc", "exp", "run", "-S", "lora.r=2")
    assert stages_run(printed) == ["train_lora", "merge"]
    adapter = project.folder / "data/lora/step_000000004/adapter_model.safetensors"
    assert {len(t) for key, t in load_file(adapter).items() if "lora_A." in key} == {2}

    # In a copy of the project, which sees only what Git and DVC keep.
    printed = project.run("dvc", "exp", "run", "--temp", "-S", "normalize.target_loudness_lufs=-20")
    assert stages_run(printed) == STAGES[1:]
    assert "8 clips of 2 speakers" in printed
    cached = project.folder / ".fishdvc_cache/normalize"
    assert len([path for path in cached.rglob("*") if path.is_file()]) == 2 * 8

    rows = project.experiments().values()
    assert len(rows) == 3
    found = set()
    for row in rows:
        params = row["params"]["params.yaml"]["data"]
        found.add((params["lora"]["r"], params["normalize"]["target_loudness_lufs"]))
        assert row["metrics"]["data/metrics/train_lora.json"]["data"]["untuned_val_loss"] > 0
    assert found == {(8, -23.0), (2, -23.0), (2, -20)}

    difference = project.json("dvc", "metrics", "diff", "--json", "main")
    assert "best_val_loss" in difference["data/metrics/train_lora.json"]
    shown = project.json("dvc", "plots", "show", "--json")
    graph = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    assert {name for plot in graph["plots"] for name in plot} <= shown["data"].keys()
    assert not shown.get("errors")


def test_adding_a_clip_costs_one_clip(project: Project, make_clip: Callable[..., Path]) -> None:
    make_clip(project.folder / VOICE / "bob/new.wav", seed=99)
    printed = project.run("dvc", "repro", "extract_vq")
    assert stages_run(printed) == ["normalize", "extract_vq"]
    normalized, encoded = re.findall(
        r"^(normalize|extract_vq): (\d+) clips.* (\d+) unchanged", printed, re.M
    )
    assert normalized == ("normalize", "9", "8")
    assert encoded == ("extract_vq", "9", "8")


def test_a_bad_clip_stops_the_pipeline_with_its_name(project: Project) -> None:
    (project.folder / VOICE / "ann/clip.0.lab").write_text("")
    with pytest.raises(AssertionError, match=r"data/my-voice/ann/clip\.0\.lab: empty transcript"):
        project.run("dvc", "repro")
    assert not (project.folder / "data/normalized").exists()
    assert not list((project.folder / "data").glob(".*.partial"))
