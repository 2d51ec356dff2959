"""Find the source files that a module imports, to hash them or to compare them with dvc.yaml."""

import ast
from pathlib import Path

TOP = Path(__file__).parents[2]
"""Folder of the packages."""


def imported_files(file: Path) -> list[Path]:
    """Return a file and all files of the project that importing it may run, sorted.

    Imports within functions count. Packages' ``__init__.py`` are included.

    Args:
        file: A Python file below ``TOP``. Its own imports must be absolute.
    """
    found, waiting = {file}, [file]
    while waiting:
        new = _direct_imports(waiting.pop()) - found
        found |= new
        waiting += new
    return sorted(found)


def _direct_imports(file: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
