"""A project after a sweep, once for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_project import Project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to change at will."""
    return finished.copy(tmp_path / "project")


def run_queue(project: Project, jobs: int) -> None:
    """Start workers and wait until all tasks have succeeded and no worker is left."""
    project.run("dvc", "queue", "start", "-j", str(jobs))
    project.wait_for_queue()
    project.run("dvc", "queue", "stop")
    project.wait_for_workers()


@pytest.fixture(scope="session")
def swept(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after a grid of two ranks, on two workers, and a run of one worker."""
    project = finished.copy(tmp_path_factory.mktemp("swept") / "project")
    project.run("dvc", "exp", "run", "-S", "lora.r=2,4", "--queue")
    run_queue(project, jobs=2)
    workers = ("-S", "normalize.workers=2", "-S", "extract_vq.workers=2")
    project.run("dvc", "exp", "run", "--queue", "--name", "workers", *workers)
    run_queue(project, jobs=1)
    yield project
    project.run("dvc", "queue", "stop", "--kill")
