"""A project after a sweep, shared by the tests in this folder."""

from collections.abc import Iterator

import pytest

from tests.small_project import Project


@pytest.fixture(scope="session")
def swept(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The finished project after three queued experiments. Tests must not change it."""
    project = finished.copy(tmp_path_factory.mktemp("swept") / "project")
    project.run("dvc", "exp", "run", "-S", "lora.r=2,4", "--queue")
    skip = ("-S", "dataset.on_bad_clip=skip")
    project.run("dvc", "exp", "run", "--queue", "--name", "skip", *skip)
    project.run("dvc", "queue", "start", "-j", "2")
    project.wait_for_queue()
    yield project
    project.run("dvc", "queue", "stop", "--kill")
