"""train_lora that is stopped or fails at any change of a file, and two runs of it at once.

By default a seeded sample of the failpoints is tried, as in ``test_faults``.
"""

import gc
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fishdvc.failures import run_program
from fishdvc.pipeline import train_lora as stage
from fishdvc.storage.atomic import HIDDEN
from fishdvc.storage.imports import imported_files
from tests.faults.failpoints import EVERY, KilledError, chosen, failpoint
from tests.pipeline.training_run import adapters, curves, metrics, start, train, write_params
from tests.small_project import TIMEOUT_S

SAMPLE = 3
NUM_CLEANUP = 20
"""The last changes of a run, which delete its folder in the cache."""
LORA = {"dropout": 0.1}
OLD = {"old.txt": b"from an earlier run"}
RUNS = Path(".fishdvc_cache/train_lora")
pytestmark = [] if EVERY else pytest.mark.xdist_group("faults")


@pytest.fixture(scope="module", autouse=True)
def _imports_are_read_once() -> Iterator[None]:
    files = imported_files(Path(stage.__file__))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "imported_files", lambda _: files)
        yield


@pytest.fixture(scope="module")
def finished(
    base_folder: Path, small_protos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """The folder of a run without a fault, and the number of changes of files in it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "lora").mkdir()
    with failpoint("none", sys.maxsize) as counted:
        train(folder, base_folder, small_protos, lora=LORA)
    return folder, counted.num_changes


def check_outputs(folder: Path, finished: Path) -> None:
    assert adapters(folder) == adapters(finished)
    assert curves(folder) == curves(finished)
    assert metrics(folder) == metrics(finished)
    assert not list((folder / "lora").rglob(".*"))


def prepare(folder: Path) -> None:
    """Restore the state before a run: old adapters and no cache."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lora").mkdir(parents=True)
    for name, content in OLD.items():
        (folder / "lora" / name).write_bytes(content)


@pytest.mark.parametrize("fault", ["killed", "disk full"])
def test_a_fault_in_training_leaves_old_or_new_adapters_and_a_rerun_is_right(
    fault: str,
    finished: tuple[Path, int],
    base_folder: Path,
    small_protos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right, total = finished
    cleanup = range(total)[-NUM_CLEANUP:]
    points = [*chosen(range(total - NUM_CLEANUP), SAMPLE, fault), *chosen(cleanup, 1, fault)]
    folder = tmp_path / "project"
    for point in points:
        prepare(folder)
        where = f"{fault} at change {point} of {total}"
        try:
            with failpoint(fault, point):
                message, exit_code = run_program(
                    lambda: print(train(folder, base_folder, small_protos, lora=LORA))
                )
            if exit_code:
                assert message.startswith("error: "), where
        except KilledError:
            gc.collect()  # Frees the locks, as the end of a process does.
        if (folder / "lora").exists():
            assert adapters(folder) in (OLD, adapters(right)), where
        train(folder, base_folder, small_protos, lora=LORA)
        check_outputs(folder, right)
        assert not list(folder.rglob(f"{HIDDEN}*")), where
        assert list((folder / RUNS).iterdir()) == [], where
    if EVERY:
        with capsys.disabled():
            print(f"\ntrain_lora: {fault}: {len(points)} of {total} changes tried")


def test_equal_runs_wait_and_one_of_them_trains_after_the_first_is_killed(
    finished: tuple[Path, int], base_folder: Path, small_protos: Path, tmp_path: Path
) -> None:
    def line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    write_params(tmp_path, lora=LORA, machine={"devices": 1, "logger": "none"})
    names = ("first", "second", "third")
    runs = [start(tmp_path, base_folder, small_protos, name) for name in names[:1]]
    try:
        assert "9 sentences" in line(runs[0])
        runs[0].send_signal(signal.SIGSTOP)
        runs += [start(tmp_path, base_folder, small_protos, name) for name in names[1:]]
        for run in runs[1:]:
            assert line(run).startswith("waiting for another run: it trains the same adapter")
        runs[0].kill()
        printed = [run.communicate(timeout=TIMEOUT_S)[0] for run in runs[1:]]
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    assert [run.returncode for run in runs[1:]] == [0, 0], printed
    assert ["its result is used" in text for text in printed].count(True) == 1, printed
    for name in names[1:]:
        check_outputs(tmp_path / name, finished[0])
    assert list((tmp_path / RUNS).iterdir()) == []
