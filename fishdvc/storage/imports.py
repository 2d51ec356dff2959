"""Find the source files that a module imports directly or indirectly."""

import ast
import threading
from pathlib import Path

TOP = Path(__file__).parents[2]
"""Folder that contains the packages."""
# Python 3.11 counts the depth of a syntax tree in one place for all threads.
_PARSER = threading.Lock()


def imported_files(file: Path) -> list[Path]:
    """Return a file and all project files that it imports, directly or indirectly, sorted.

    The result includes imports inside functions and the ``__init__.py`` of packages. Relative
    imports are not supported.

    Args:
        file: A Python file below ``TOP``.
    """
    found, waiting = {file}, [file]
    while waiting:
        new = _direct_imports(waiting.pop()) - found
        found |= new
        waiting += new
    return sorted(found)


def _direct_imports(file: Path) -> set[Path]:
    names = set()
    with _PARSER:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        folder = TOP
        for part in name.split("."):
            folder = folder / part
            files |= {folder.with_suffix(".py"), folder / "__init__.py"}
    return {path for path in files if path.is_file()}
