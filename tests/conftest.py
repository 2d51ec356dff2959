"""Fixtures for all tests."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from fishdvc.device import choose_device
from tests import small_project
from tests.small_project import STAGES, Project, make_project, stages_run

PROJECT_FIXTURES = {"new_project", "finished"}
DEVICE_VARIABLE = "FISHDVC_TEST_DEVICE"

# The models are so small that more threads only wait for each other.
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that use the session's project in one worker, and start them first."""
    grouped = [item for item in items if PROJECT_FIXTURES & set(getattr(item, "fixturenames", ()))]
    for item in grouped:
        item.add_marker(pytest.mark.xdist_group("project"))
    items.sort(key=lambda item: item not in grouped)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skip a test with the marker ``cuda`` without a GPU, and run all of them in one worker.

    FISHDVC_TEST_DEVICE=cpu runs them on the CPU, to check the tests themselves.
    """
    if item.get_closest_marker("cuda"):
        item.add_marker(pytest.mark.xdist_group("cuda"))
        if os.environ.get(DEVICE_VARIABLE) != "cpu" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of small files that tests compare with."""
    return Path(__file__).parent / "assets"


@pytest.fixture(scope="session")
def top() -> Path:
    """The project's top folder."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device of tests with the marker ``cuda``."""
    return choose_device(os.environ.get(DEVICE_VARIABLE, "cuda"))


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


@pytest.fixture(scope="session")
def small_protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of random codes: ``train/`` (2 speakers, 9 sentences) and ``val/`` (2 sentences)."""
    folder = tmp_path_factory.mktemp("protos")
    rng = np.random.default_rng(0)

    def group(name: str, count: int) -> SpeakerGroup:
        sentences = tuple(
            Sentence(texts=(f"Sentence {i}.",), codes=rng.integers(1, 1000, (8, 5 + i)))
            for i in range(count)
        )
        return SpeakerGroup(name=name, source="folder", sentences=sentences)

    for split, counts in (("train", (6, 3)), ("val", (1, 1))):
        groups = [group(name, count) for name, count in zip(("ann", "bob"), counts, strict=True)]
        write_shards(folder / split, groups, 10**7)
        clips = {g.name: [f"{g.name}/{i}" for i in range(len(g.sentences))] for g in groups}
        (folder / split / CLIP_LIST).write_text(json.dumps(clips))
    return folder
