"""Fixtures for tests of datasets."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty dataset folder."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder
