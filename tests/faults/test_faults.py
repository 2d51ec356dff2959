"""A stage that is stopped or fails at any change of a file leaves old or new outputs, never a part.

By default a seeded sample of the failpoints is tried. ``FISHDVC_FAULTS=all`` tries all of them.
"""

import gc
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fishdvc.storage.atomic import HIDDEN
from fishdvc.storage.cache import content_hash
from tests.faults.failpoints import FAULTS, KilledError, failpoint
from tests.faults.light_project import (
    CACHE,
    OUTPUTS,
    Tree,
    make_light_project,
    tree,
)
from tests.faults.running import command, run_in_process
from tests.small_project import TIMEOUT_S, TOP

ALL = os.environ.get("FISHDVC_FAULTS") == "all"
SAMPLE = 3
OLD = {"old": b"from an earlier run"}
pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after all light stages. Tests must not change it."""
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
    data = project / "data"
    folder = data / OUTPUTS[stage]
    for path in (project / CACHE, folder, data / "reports", data / "metrics"):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("reports", "metrics"):
        shutil.copytree(finished / "data" / name, data / name)
    folder.mkdir()
    for name, content in OLD.items():
        (folder / name).write_bytes(content)


def outputs(project: Path, stage: str) -> Tree:
    return tree(project / "data" / OUTPUTS[stage])


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


def chosen(total: int, name: str) -> list[int]:
    points = range(total)
    return list(points) if ALL else sorted(random.Random(name).sample(points, SAMPLE))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_fault_leaves_old_or_new_outputs_and_a_rerun_is_right(
    stage: str, fault: str, project: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = outputs(finished, stage)
    total = num_changes(project, finished, stage)
    points = chosen(total, stage + fault)
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
            assert (project / "data" / OUTPUTS[stage]).exists(), where
        # A stage that is stopped between two renames leaves the old folder to the next run.
        if (project / "data" / OUTPUTS[stage]).exists():
            assert outputs(project, stage) in (OLD, new), where
        check_rerun(project, finished, stage)
    if ALL:
        with capsys.disabled():
            print(f"\n{stage}: {fault}: {len(points)} of {total} changes tried, all right")


KILL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.faults.failpoints import failpoint
from tests.faults.running import run_in_process
with failpoint("SIGKILL", int(sys.argv[3])):
    run_in_process(sys.argv[2])
"""


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_process_that_is_killed_leaves_old_or_new_outputs_and_a_rerun_is_right(
    stage: str, project: Path, finished: Path
) -> None:
    total = num_changes(project, finished, stage)
    points = random.Random(stage).sample(range(total), 10 if ALL else 1)
    for point in points:
        prepare(project, finished, stage)
        words = [sys.executable, "-c", KILL, str(TOP), stage, str(point)]
        assert subprocess.run(words, check=False, timeout=TIMEOUT_S).returncode == -9
        if (project / "data" / OUTPUTS[stage]).exists():
            assert outputs(project, stage) in (OLD, outputs(finished, stage))
        check_rerun(project, finished, stage)


@pytest.mark.parametrize("stage", OUTPUTS)
def test_two_runs_of_a_stage_at_once_both_end_right(
    stage: str, project: Path, finished: Path
) -> None:
    words = [sys.executable, "-m", *command(stage)]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
    for _ in range(10 if ALL else 1):
        prepare(project, finished, stage)
        runs = [
            subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        errors = [run.communicate(timeout=TIMEOUT_S)[1] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], errors
        assert tree(project / "data") == tree(finished / "data")
        assert leftovers(project) == []


@pytest.mark.parametrize("stage", OUTPUTS)
def test_an_output_that_is_a_file_of_the_user_is_an_error(
    stage: str, project: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(project, finished, stage)
    folder = project / "data" / OUTPUTS[stage]
    shutil.rmtree(folder)
    folder.write_text("mine")
    assert run_in_process(stage) == 1
    printed = capsys.readouterr().err
    assert f"data/{OUTPUTS[stage]}: " in printed
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
