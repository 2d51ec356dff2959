"""Files inside installed packages."""

from importlib.util import find_spec
from pathlib import Path


def package_folder(module: str) -> Path:
    """Return the folder of a module without importing it.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return Path(spec.origin).parent
