"""Fixtures of the stages' tests: shipped parameters, a working folder and small shards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from tests.sections import shipped

Shipped = Callable[..., Any]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which also contains the cache of the stages."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="shipped", scope="session")
def shipped_fixture() -> Shipped:
    """A section of the shipped params.yaml with changes: ``shipped("lora", r=2)``."""
    return shipped


@pytest.fixture(scope="session")
def contents() -> Callable[[str], dict[str, bytes]]:
    """Read all files below a folder. Returns bytes by relative path."""

    def read(folder: str) -> dict[str, bytes]:
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read


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
