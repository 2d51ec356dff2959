"""Sweeps, comparison of experiments, and the stages that a change reruns."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path

import pytest

from tests.small_project import Project, stages_run

OUTPUTS_EQUAL_IN_ALL_RUNS = (
    *("data/codes", "data/protos", "data/lora"),
    *("data/evaluation", "data/merged"),
)
METRICS = [
    *("num_clips", "hours", "untuned_val_loss", "best_val_loss", "best_step", "coverage"),
    "chosen_step",
]


def name_of_rank(project: Project, r: int) -> str:
    names = [
        name
        for name, data in project.experiments().items()
        if data["params"]["params.yaml"]["data"]["lora"]["r"] == r
    ]
    return names[0]


def test_queued_experiments_run_only_the_stages_that_changed(swept: Project) -> None:
    for r in (2, 4):
        log = swept.run("dvc", "queue", "logs", name_of_rank(swept, r))
        assert stages_run(log) == ["train_lora", "evaluate", "merge"]


def test_queued_experiments_share_the_cache_of_clips(swept: Project) -> None:
    log = swept.run("dvc", "queue", "logs", "skip")
    # The same codes come out, so that training does not run.
    assert stages_run(log) == ["normalize", "check", "extract_vq", "build_protos"]
    counts = re.findall(r"^(normalize|extract_vq): (\d+) clips.* (\d+) unchanged", log, re.M)
    assert counts == [("normalize", "8", "8"), ("extract_vq", "8", "8")]
    assert not list((swept.folder / ".dvc").rglob(".fishdvc_cache"))


def test_experiments_are_shown_with_params_and_metrics(swept: Project) -> None:
    rows = swept.experiments()
    assert len(rows) == 4
    losses = set()
    for row in rows.values():
        metrics = row["metrics"]
        figures = metrics["data/metrics/train_lora.json"]["data"]
        assert {"untuned_val_loss", "best_val_loss", "best_step", "coverage"} <= figures.keys()
        assert metrics["data/metrics/normalize.json"]["data"]["hours"] > 0
        chosen = metrics["data/metrics/evaluate.json"]["data"]
        assert {"chosen_step", "ended_share", "base_ended_share"} <= chosen.keys()
        assert metrics["data/metrics/merge.json"]["data"]["merged_step"] == 4
        losses.add(figures["best_val_loss"])
    assert len(losses) == 3

    table = list(csv.DictReader(io.StringIO(swept.run("dvc", "exp", "show", "--csv"))))
    assert {row["Experiment"] for row in table} == {"", *rows} - {"baseline"}
    assert {row["lora.r"] for row in table} == {"2", "4", "8"}
    # A terminal shows the first columns first.
    assert list(table[0])[7:14] == METRICS


def test_an_applied_experiment_is_up_to_date(swept: Project, tmp_path: Path) -> None:
    project = swept.copy(tmp_path / "project")
    project.run("dvc", "exp", "apply", name_of_rank(project, 4))
    adapter = project.folder / "data/lora/step_000000004/adapter_config.json"
    assert json.loads(adapter.read_text())["r"] == 4
    assert stages_run(project.run("dvc", "repro")) == []
    project.commit("Rank 4")
    # DVC's run cache restores the adapters of rank 8.
    printed = project.run("dvc", "exp", "run", "-S", "lora.r=8")
    assert stages_run(printed) == []
    assert "Stage 'train_lora' is cached - skipping run, checking out outputs" in printed
    assert json.loads(adapter.read_text())["r"] == 8


def test_another_checkpoint_reruns_only_merge(project: Project) -> None:
    chosen = ("-S", "merge.checkpoint=step_000000002")
    printed = project.run("dvc", "exp", "run", "--temp", "--name", "earlier", *chosen)
    assert stages_run(printed) == ["merge"]
    metrics = project.experiments()["earlier"]["metrics"]["data/metrics/merge.json"]["data"]
    assert metrics["merged_step"] == 2
    assert project.run("git", "status", "--porcelain") == ""


def test_a_change_of_machine_settings_reruns_nothing(project: Project) -> None:
    project.set("machine", workers=2, accelerator="auto", logger="none")
    assert "up to date" in project.run("dvc", "status")


@pytest.mark.parametrize("stage", ["fetch_base", "train_lora", "evaluate", "merge"])
def test_a_new_external_file_reruns_its_stage(stage: str, project: Project) -> None:
    (project.folder / "data/external" / stage / "new.bin").write_bytes(b"new")
    # fetch_base checks the adapter that training starts from.
    also = {"fetch_base"} if stage == "train_lora" else set()
    assert project.json("dvc", "status", "--json").keys() == {stage} | also


def test_an_adapter_of_the_last_run_is_not_deleted_when_training_starts_from_it(
    project: Project,
) -> None:
    adapter = "data/lora/step_000000004"
    project.set("train_lora", init_from=adapter)
    with pytest.raises(
        AssertionError, match=r"cp -r \S+/data/lora/step_000000004 data/external/train_lora/"
    ):
        project.run("dvc", "repro")
    copy = f"data/external/train_lora/{Path(adapter).name}"
    project.run("cp", "-r", adapter, copy)
    project.set("train_lora", init_from=copy)
    rerun = ["fetch_base", "train_lora", "evaluate", "merge"]
    assert stages_run(project.run("dvc", "repro")) == rerun


def test_two_clones_make_the_same_bytes(
    finished: Project, new_project: Project, tmp_path: Path
) -> None:
    other = new_project.copy(tmp_path / "project")
    assert "train_lora" in stages_run(other.run("dvc", "repro"))
    for path in OUTPUTS_EQUAL_IN_ALL_RUNS:
        assert file_hashes(other.folder / path) == file_hashes(finished.folder / path)


def file_hashes(folder: Path) -> dict[str, str]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if path.is_file()
    }
