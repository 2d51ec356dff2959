"""A stage that is stopped or fails at any change of a file leaves old or new outputs, never a part.

By default a seeded sample of the failpoints is tried. ``FISHDVC_FAULTS=all`` tries all of them, and
``FISHDVC_FAULTS=10`` every tenth.
"""

import gc
import shutil
import signal
import sys
from pathlib import Path

import pytest

from fishdvc.storage.atomic import HIDDEN
from fishdvc.storage.cache import content_hash
from tests.faults.failpoints import EVERY, FAULTS, KilledError, chosen, failpoint
from tests.faults.light_project import CACHE, OUTPUTS, make_light_project, tree
from tests.faults.running import run_in_process, start_stage
from tests.small_project import TIMEOUT_S

SAMPLE = 3
OLD = b"from an earlier run"
# In CI, one process prepares the project once.
pytestmark = [] if EVERY else pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after all stages but train_lora. Tests must not change it."""
    folder = tmp_path_factory.mktemp("light") / "project"
    make_light_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in OUTPUTS:
            assert run_in_process(stage) == 0
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, the working folder."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def prepare(project: Path, finished: Path, stage: str) -> None:
    """Restore the state before a stage runs again, with old outputs and without its cache."""
    shutil.rmtree(project / CACHE, ignore_errors=True)
    shutil.rmtree(project / "data")
    shutil.copytree(finished / "data", project / "data")
    for name in OUTPUTS[stage]:
        output = project / "data" / name
        if output.is_dir():
            shutil.rmtree(output)
            output.mkdir()
            output = output / "old"
        output.write_bytes(OLD)


def check_outputs(
    project: Path, finished: Path, stage: str, where: str, *, all_exist: bool
) -> None:
    """Each output is the old or the new one.

    A stage that is stopped between two renames leaves the old output to the next run.
    """
    for name in OUTPUTS[stage]:
        output = project / "data" / name
        assert output.exists() or not all_exist, where
        if output.exists():
            old = {"old" if output.is_dir() else ".": OLD}
            assert tree(output) in (old, tree(finished / "data" / name)), where


def leftovers(project: Path) -> list[Path]:
    return [path for path in project.rglob("*") if path.name.startswith(HIDDEN)]


def check_rerun(project: Path, finished: Path, stage: str) -> None:
    """Run a stage again. All is as without a fault, and nothing is left."""
    assert run_in_process(stage) == 0
    assert tree(project / "data") == tree(finished / "data")
    assert leftovers(project) == []
    for path in (project / CACHE).rglob("*.*"):
        assert content_hash(path) == path.suffix[1:]


def num_changes(project: Path, finished: Path, stage: str) -> int:
    prepare(project, finished, stage)
    with failpoint("none", sys.maxsize) as counted:
        assert run_in_process(stage) == 0
    return counted.num_changes


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_fault_leaves_old_or_new_outputs_and_a_rerun_is_right(
    stage: str, fault: str, project: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total = num_changes(project, finished, stage)
    points = chosen(range(total), SAMPLE, stage + fault)
    for point in points:
        prepare(project, finished, stage)
        exit_code = None
        try:
            with failpoint(fault, point):
                exit_code = run_in_process(stage)
        except KilledError:
            gc.collect()  # Frees the locks, as the end of a process does.
        printed = capsys.readouterr().err
        where = f"{stage}: {fault} at change {point} of {total}: {printed}"
        if exit_code:
            assert exit_code == 1, where
            assert printed.startswith("error: "), where
            assert printed.count("\n") == 1, where
        if exit_code and fault == "disk full":
            assert leftovers(project) == [], where
        all_exist = fault == "disk full"
        check_outputs(project, finished, stage, where, all_exist=all_exist)
        check_rerun(project, finished, stage)
    if EVERY:
        with capsys.disabled():
            print(f"\n{stage}: {fault}: {len(points)} of {total} changes tried")


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_process_that_is_killed_leaves_old_or_new_outputs_and_a_rerun_is_right(
    stage: str, project: Path, finished: Path
) -> None:
    total = num_changes(project, finished, stage)
    for point in chosen(range(total), 1, stage):
        prepare(project, finished, stage)
        process = start_stage(stage, "SIGKILL", point)
        process.join(TIMEOUT_S)
        where = f"{stage}: SIGKILL at change {point} of {total}"
        assert process.exitcode == -signal.SIGKILL, where
        check_outputs(project, finished, stage, where, all_exist=False)
        check_rerun(project, finished, stage)


@pytest.mark.parametrize("stage", OUTPUTS)
def test_two_runs_of_a_stage_at_once_both_end_right(
    stage: str, project: Path, finished: Path
) -> None:
    for _ in range(30 // EVERY if EVERY else 1):
        prepare(project, finished, stage)
        runs = [start_stage(stage) for _ in range(2)]
        for run in runs:
            run.join(TIMEOUT_S)
        assert [run.exitcode for run in runs] == [0, 0]
        assert tree(project / "data") == tree(finished / "data")
        assert leftovers(project) == []


@pytest.mark.parametrize("stage", [stage for stage in OUTPUTS if stage != "check"])
def test_an_output_that_is_a_file_of_the_user_is_an_error(
    stage: str, project: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(project, finished, stage)
    name = OUTPUTS[stage][-1]
    folder = project / "data" / name
    shutil.rmtree(folder)
    folder.write_text("mine")
    assert run_in_process(stage) == 1
    printed = capsys.readouterr().err
    assert f"data/{name}: " in printed
    assert printed.count("\n") == 1
    assert folder.read_text() == "mine"


@pytest.mark.parametrize("stage", ["normalize", "extract_vq"])
def test_a_cached_file_that_was_cut_is_made_again(
    stage: str, project: Path, finished: Path
) -> None:
    prepare(project, finished, stage)
    assert run_in_process(stage) == 0
    cached = list((project / CACHE / stage).rglob("*.*"))
    assert len(cached) == 3
    for path in cached:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check_rerun(project, finished, stage)
