"""Search for imported source files."""

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
