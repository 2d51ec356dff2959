"""Command-line arguments and error handling of all stages."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fishdvc.errors import printable, printable_lines
from fishdvc.failures import run_program


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def stage_arguments(
    description: str | None, *, optional: Mapping[str, str] | None = None, **paths: str
) -> tuple[Path, dict[str, Any]]:
    """Parse the paths of a stage. Each path is an option.

    Stages call this before they import the library, so that ``--help`` is fast.

    Args:
        description: Docstring of the stage script.
        optional: Name and help of the options that may be left out.
        paths: Name and help of the required options.

    Returns:
        The parameter file, and the paths by name. An option that was left out is None.
    """
    parser = _Parser(description=description)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)"
    )
    for required, options in ((True, paths), (False, optional or {})):
        for name, meaning in options.items():
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=Path, required=required, help=meaning)
    arguments = vars(parser.parse_args())
    return arguments.pop("params"), arguments


def run_stage(stage: Callable[[], str]) -> None:
    """Run a stage and print its summary. Print a failure that is not a bug as a message.

    See ``run_program`` for the exit codes.
    """

    def program() -> None:
        if summary := stage():  # Empty in all processes of train_lora except the first.
            print(printable_lines(summary))

    message, exit_code = run_program(program)
    if message:
        print(message, file=sys.stderr)
    sys.exit(exit_code)
