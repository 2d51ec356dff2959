"""Fixtures for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests import small_project
from tests.small_project import STAGES, Project, make_project, stages_run

PROJECT_FIXTURES = {"new_project", "finished"}

# The models are so small that more threads only wait for each other.
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that use the session's project in one worker, and start them first."""
    grouped = [item for item in items if PROJECT_FIXTURES & set(getattr(item, "fixturenames", ()))]
    for item in grouped:
        item.add_marker(pytest.mark.xdist_group("project"))
    items.sort(key=lambda item: item not in grouped)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of small files that tests compare with."""
    return Path(__file__).parent / "assets"


@pytest.fixture(scope="session")
def top() -> Path:
    """The project's top folder."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder of the small models in the published format. Tests must not change it."""
    folder = tmp_path_factory.mktemp("base")
    small_project.copy_base(folder)
    return folder


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Write audio similar to speech, and a transcript beside it."""
    return small_project.make_clip


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project under Git and DVC in which no stage has run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("new")
    return make_project(folder / "project", folder / "home")


@pytest.fixture(scope="session")
def finished(new_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `dvc repro` and a commit. Tests must not change it."""
    project = new_project.copy(tmp_path_factory.mktemp("finished") / "project")
    assert stages_run(project.run("dvc", "repro")) == STAGES
    project.commit("First voice")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, which a test may change."""
    return finished.copy(tmp_path / "project")
