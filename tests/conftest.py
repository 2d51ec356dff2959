"""Fixtures for all tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of small files that tests compare with."""
    return Path(__file__).parent / "assets"
