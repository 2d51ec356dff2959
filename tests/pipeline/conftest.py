"""Fixtures of the stages' tests: shipped parameters, a working folder and small shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
