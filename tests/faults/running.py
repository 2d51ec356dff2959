"""Run the command of a stage in dvc.yaml in this process. Imports nothing slow."""

import runpy
import sys

from fishdvc.params import load_yaml
from tests.small_project import TOP


def command(stage: str) -> list[str]:
    """Return the module and the options of a stage in dvc.yaml."""
    graph = load_yaml(TOP / "dvc.yaml")
    words = graph["stages"][stage]["cmd"]
    for name, path in graph["vars"][0]["paths"].items():
        words = words.replace(f"${{paths.{name}}}", path)
    return str(words).split()[2:]


def run_in_process(stage: str) -> int:
    """Run a stage in the working folder. Return its exit code."""
    module, *options = command(stage)
    argv = sys.argv
    sys.argv = [module, *options]
    sys.modules.pop(module, None)
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = argv
    raise AssertionError("a stage ends by sys.exit")
