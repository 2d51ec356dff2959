"""Fixtures for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests import small_project
from tests.small_project import STAGES, Project, make_project, stages_run

# Models here are so small that threads would only wait for each other.
torch.set_num_threads(1)


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
    """A whole base folder in the published format, of the small models; not to be changed."""
    folder = tmp_path_factory.mktemp("base")
    small_project.copy_base(folder)
    return folder


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Write an audio file that sounds a little like speech, and its transcript beside it."""
    return small_project.make_clip


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's project under Git and DVC, in which nothing has run; not to be changed."""
    folder = tmp_path_factory.mktemp("new")
    return make_project(folder / "project", folder / "home")


@pytest.fixture(scope="session")
def finished(new_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline has run and its results are committed; not to be changed."""
    project = new_project.copy(tmp_path_factory.mktemp("finished") / "project")
    assert stages_run(project.run("dvc", "repro")) == STAGES
    project.commit("First voice")
    return project
