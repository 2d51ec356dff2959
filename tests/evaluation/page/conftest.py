"""A browser that shows a listening page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fishdvc.evaluation.results import Evaluation
from tests.evaluation.page.browser import Browser, run_browser
from tests.evaluation.page.hostile import make_page


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """A page and what it shows."""
    folder = tmp_path_factory.mktemp("page") / "a page #1"
    return folder / "index.html", make_page(folder)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    with run_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, written: tuple[Path, Evaluation]) -> Iterator[Browser]:
    """A browser that shows the page. After each test, it must not have complained."""
    running.set_window(width=1280, height=900)
    running.events.clear()
    running.open(written[0])
    yield running
    assert running.complaints() == []
    outside = [url for url in running.requested() if not url.startswith("file://")]
    # The export is an object in memory. The icon is empty.
    assert [url for url in outside if not url.startswith(("blob:", "data:"))] == []
    running.evaluate("saved = true")
