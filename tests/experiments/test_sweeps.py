"""Sweeps as users make them: queues, copies of the project, and what is done with experiments."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
import yaml
from docs.record_console import blocks, commands

from tests.small_project import TOP, Project, stages_run

OUTS_THAT_MUST_NOT_VARY = ("data/codes", "data/protos", "data/lora", "data/merged")
# These hold tokens per second.
TIMED = {"data/logs", "data/metrics/train_lora"}
COMPARED = [
    *("num_clips", "hours", "untuned_val_loss", "best_val_loss", "best_step", "coverage"),
    *("merged_step", "merged_val_loss"),
]


@pytest.fixture
def project(swept: Project, tmp_path: Path) -> Project:
    """A copy of the swept project, to change at will."""
    return swept.copy(tmp_path / "project")


def name_of_rank(project: Project, r: int) -> str:
    (name,) = (
        name
        for name, data in project.experiments().items()
        if data["params"]["params.yaml"]["data"]["lora"]["r"] == r
    )
    return str(name)


def out_hashes(project: Project) -> dict[str, str]:
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs}


def test_queued_runs_find_everything_and_train_only(swept: Project) -> None:
    for r in (2, 4):
        log = swept.run("dvc", "queue", "logs", name_of_rank(swept, r))
        assert stages_run(log) == ["train_lora", "merge"]


def test_queued_runs_find_the_cache_of_clips(swept: Project) -> None:
    log = swept.run("dvc", "queue", "logs", "workers")
    # Another number of workers makes the same files: nothing behind them runs.
    assert stages_run(log) == ["normalize", "extract_vq"]
    counts = re.findall(r"^(normalize|extract_vq): (\d+) clips.* (\d+) unchanged", log, re.M)
    assert counts == [("normalize", "8", "8"), ("extract_vq", "8", "8")]
    assert not list((swept.folder / ".dvc").rglob(".fishdvc_cache"))


def test_experiments_are_shown_with_what_distinguishes_them(swept: Project) -> None:
    rows = swept.experiments()
    assert len(rows) == 4
    losses = set()
    for row in rows.values():
        metrics = row["metrics"]
        figures = metrics["data/metrics/train_lora.json"]["data"]
        assert {"untuned_val_loss", "best_val_loss", "best_step", "coverage"} <= figures.keys()
        assert metrics["data/metrics/normalize.json"]["data"]["hours"] > 0
        assert metrics["data/metrics/merge.json"]["data"]["merged_step"] == 4
        losses.add(figures["best_val_loss"])
    assert len(losses) == 3

    table = list(csv.DictReader(io.StringIO(swept.run("dvc", "exp", "show", "--csv"))))
    assert {row["Experiment"] for row in table} == {"", *rows} - {"baseline"}
    assert {row["lora.r"] for row in table} == {"2", "4", "8"}
    # A terminal shows the first columns first.
    assert list(table[0])[7:16] == [*COMPARED, "base.codec_checkpoint"]


def documented_tables() -> list[str]:
    page = (TOP / "docs/experiments.md").read_text(encoding="utf-8")
    lines = [line for block in blocks(page) for line in commands(block)]
    return [line.removeprefix("COLUMNS=120 ") for line in lines if "dvc exp show" in line]


def test_the_documented_lines_show_narrow_tables_in_order(swept: Project) -> None:
    losses = {
        name: row["metrics"]["data/metrics/train_lora.json"]["data"]["best_val_loss"]
        for name, row in swept.experiments().items()
    }
    wide, narrow = documented_tables()
    for line, first in (
        (wide, ["Experiment", "Created", "State", "Executor", "best_val_loss", "best_step"]),
        (f"{narrow} --drop '.*workers'", ["Experiment", "hours", "best_val_loss", "best_step"]),
    ):
        table = swept.run("bash", "-c", f"export COLUMNS=140; {line} --no-pager").splitlines()
        assert max(map(len, table)) <= 140
        shown = table[1].split()
        assert shown[: len(first)] == first
        names = re.findall(r"\[([\w-]+)\]", "\n".join(table))
        assert len(names) == 3
        assert names == sorted(names, key=lambda name: losses[name])
    # Nothing had to be cut off.
    assert {"hours", "coverage", "merged_val_loss", "lora.r"} <= set(shown)
    assert "…" not in shown


def test_experiments_are_applied_branched_saved_compared_and_removed(project: Project) -> None:
    two, four = name_of_rank(project, 2), name_of_rank(project, 4)
    difference = project.json("dvc", "exp", "diff", "--json", "main", two)
    assert difference["params"]["params.yaml"]["lora.r"] == {"old": 8, "new": 2, "diff": -6}
    assert "best_val_loss" in difference["metrics"]["data/metrics/train_lora.json"]

    project.run("dvc", "exp", "apply", four)
    adapter = project.folder / "data/lora/step_000000004/adapter_config.json"
    assert json.loads(adapter.read_text())["r"] == 4
    assert stages_run(project.run("dvc", "repro")) == []

    project.run("dvc", "exp", "branch", two, "rank-2")
    params = yaml.safe_load(project.run("git", "show", "rank-2:params.yaml"))
    assert params["lora"]["r"] == 2

    # A repro is no experiment until it is saved as one.
    project.run("dvc", "exp", "save", "--name", "kept")
    assert "kept" in project.run("dvc", "exp", "list")
    project.run("dvc", "exp", "remove", "kept", two)
    listed = project.run("dvc", "exp", "list")
    assert four in listed
    assert "kept" not in listed
    assert two not in listed


def test_keeping_the_workspace_only_takes_the_experiments_adapters(project: Project) -> None:
    two = name_of_rank(project, 2)
    project.run("dvc", "gc", "--workspace", "--force")
    assert "up to date" in project.run("dvc", "status")
    with pytest.raises(AssertionError, match="data/lora"):
        project.run("dvc", "exp", "apply", two)


def test_another_checkpoint_costs_a_merge(project: Project) -> None:
    chosen = ("-S", "merge.checkpoint=step_000000002")
    printed = project.run("dvc", "exp", "run", "--temp", "--name", "earlier", *chosen)
    assert stages_run(printed) == ["merge"]
    metrics = project.experiments()["earlier"]["metrics"]["data/metrics/merge.json"]["data"]
    assert metrics["merged_step"] == 2
    # The workspace has not been touched.
    assert project.run("git", "status", "--porcelain") == ""


def test_earlier_params_restore_what_they_gave(project: Project) -> None:
    project.run("dvc", "exp", "apply", name_of_rank(project, 2))
    project.commit("Rank 2")
    # Nothing but the run cache knows the adapters of rank 8 by their params.
    printed = project.run("dvc", "exp", "run", "-S", "lora.r=8")
    assert stages_run(printed) == []
    for stage in ("train_lora", "merge"):
        assert f"Stage '{stage}' is cached - skipping run, checking out outputs" in printed
    assert (
        json.loads((project.folder / "data/lora/step_000000004/adapter_config.json").read_text())[
            "r"
        ]
        == 8
    )


def test_two_clones_make_the_same_bytes(
    finished: Project, new_project: Project, tmp_path: Path
) -> None:
    other = new_project.copy(tmp_path / "project")
    printed = other.run("dvc", "repro")
    assert "train_lora" in stages_run(printed)
    for path in OUTS_THAT_MUST_NOT_VARY:
        assert file_hashes(other.folder / path) == file_hashes(finished.folder / path)
    ours, theirs = out_hashes(other), out_hashes(finished)
    assert {path for path in ours if ours[path] != theirs[path]} <= TIMED


def file_hashes(folder: Path) -> dict[str, str]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(files.items())
        if path.is_file()
    }
