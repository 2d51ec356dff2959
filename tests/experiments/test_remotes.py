"""A clone gets artifacts from a remote without training."""

from pathlib import Path

import pytest

from fishdvc.params import load_yaml
from tests.small_project import Project, stages_run

PUSHED = {"data/codes", "data/protos", "data/lora", "data/logs", "data/metrics/train_lora"}
NOT_PUSHED = {"data/base", "data/normalized", "data/merged"}


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    """A folder that the project has pushed to."""
    folder = tmp_path / "storage"
    project.run("dvc", "remote", "add", "--default", "storage", str(folder))
    project.commit("Add a remote")
    assert "files pushed" in project.run("dvc", "push")
    return folder


@pytest.fixture
def colleague(project: Project, remote: Path, tmp_path: Path) -> Project:  # noqa: ARG001
    """A clone of the commits, without artifacts."""
    return project.clone(tmp_path / "colleague")


def locked_hashes(project: Project) -> dict[str, str]:
    lock = load_yaml(project.folder / "dvc.lock")
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs}


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_clone_pulls_pushed_outputs_and_rebuilds_the_others(
    project: Project, colleague: Project, remote: Path
) -> None:
    hashes = locked_hashes(project)
    stored = {"".join(path.parts[-2:]) for path in remote.rglob("*") if path.is_file()}
    assert {path for path in PUSHED | NOT_PUSHED if hashes[path] in stored} == PUSHED

    colleague.run("dvc", "pull", "--allow-missing")
    for path in (*PUSHED, "data/my-voice"):
        assert contents(colleague.folder / path) == contents(project.folder / path)
    assert not any((colleague.folder / path).exists() for path in NOT_PUSHED)
    assert "Running stage" not in colleague.run("dvc", "repro", "--allow-missing")

    # A colleague gets the merged model without training.
    printed = colleague.run("dvc", "repro", "--single-item", "fetch_base", "merge")
    assert stages_run(printed) == ["fetch_base", "merge"]
    assert contents(colleague.folder / "data/merged") == contents(project.folder / "data/merged")
    assert colleague.run("git", "status", "--porcelain") == ""


def test_a_plain_pull_names_missing_outputs_and_repro_rebuilds_them(colleague: Project) -> None:
    with pytest.raises(AssertionError, match="Checkout failed for following targets") as caught:
        colleague.run("dvc", "pull")
    assert all(path in str(caught.value) for path in NOT_PUSHED)
    assert stages_run(colleague.run("dvc", "repro")) == ["fetch_base", "normalize", "merge"]
