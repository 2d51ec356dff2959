"""Command-line arguments and error handling of all stages."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fishdvc.failures import run_program


def stage_arguments(description: str | None, **paths: str) -> tuple[Path, dict[str, Path]]:
    """Parse the paths of a stage. Each path is a required option.

    Stages call this before they import the library, so that ``--help`` is fast.

    Args:
        description: Docstring of the stage script.
        paths: Name and help of each option.

    Returns:
        The parameter file, and the paths by name.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)"
    )
    for name, meaning in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=meaning)
    arguments = vars(parser.parse_args())
    return arguments.pop("params"), arguments


def run_stage(stage: Callable[[], str]) -> None:
    """Run a stage and print its summary. Print a failure that is not a bug as a message.

    See ``run_program`` for the exit codes.
    """

    def program() -> None:
        if summary := stage():  # Empty in all processes of train_lora except the first.
            print(summary)

    message, exit_code = run_program(program)
    if message:
        print(message, file=sys.stderr)
    sys.exit(exit_code)
