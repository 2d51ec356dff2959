"""Run the command of a stage in dvc.yaml, in this process or in a fork of one with its imports."""

import multiprocessing
import runpy
import sys
from multiprocessing.process import BaseProcess

import pytest

from fishdvc.params import load_yaml
from tests.faults.failpoints import failpoint
from tests.small_project import TOP

_FORKS = multiprocessing.get_context("forkserver")


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


def start_stage(stage: str, fault: str = "none", after: int = sys.maxsize) -> BaseProcess:
    """Start a stage in a process of its own, with a fault as in ``failpoint``.

    The process is forked from one that has imported the library, which takes seconds.
    """
    _FORKS.set_forkserver_preload(["fishdvc.cli.params"])  # Imports all stages but train_lora.
    process = _FORKS.Process(target=_run, args=(stage, fault, after))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TOP))
        patch.setenv("OMP_NUM_THREADS", "1")
        process.start()
    return process


def _run(stage: str, fault: str, after: int) -> None:
    with failpoint(fault, after):
        sys.exit(run_in_process(stage))
