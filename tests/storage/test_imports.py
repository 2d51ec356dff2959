"""Search for imported source files."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fishdvc.storage import imports
from fishdvc.storage.imports import imported_files


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two packages, in which ``a.start`` imports all but ``a.unused``."""
    sources = {
        "a/__init__.py": "",
        "a/start.py": "import json\nfrom a.middle import thing\n",
        "a/middle.py": "import b.inner.deep\n",
        "a/lazy.py": "import a.start\n",
        "a/unused.py": "import a.start\n",
        "b/__init__.py": "",
        "b/inner/__init__.py": "from a import lazy\n",
        "b/inner/deep.py": "def load():\n    if True:\n        from a import in_function\n",
        "a/in_function.py": "import numpy\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(imports, "TOP", tmp_path)
    return tmp_path


def test_imports_are_followed_through_files_packages_and_functions(top: Path) -> None:
    found = imported_files(top / "a/start.py")
    unused = {top / "a/unused.py"}
    assert found == sorted(set(top.rglob("*.py")) - unused)


def test_several_threads_may_read_the_imports_of_a_file() -> None:
    def switch_threads(*_: object) -> None:
        time.sleep(0)

    threshold = gc.get_threshold()
    gc.set_threshold(50)
    gc.callbacks.append(switch_threads)
    try:
        file = imports.TOP / "fishdvc/pipeline/train_lora.py"
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(imported_files, [file] * 16))
    finally:
        gc.callbacks.remove(switch_threads)
        gc.set_threshold(*threshold)
    assert found == found[:1] * 16
