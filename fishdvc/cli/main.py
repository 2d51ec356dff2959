"""The command ``fishdvc``: parse the arguments and run the command that they name."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from fishdvc.cli import check, speak
from fishdvc.errors import ParamsError
from fishdvc.failures import run_program


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParamsError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments after ``fishdvc``. None: those of this process.

    Returns:
        The exit code.
    """
    parser = _Parser(
        prog="fishdvc",
        description="Check the data before training, and speak with the result. Run the "
        "pipeline with dvc repro.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check.add_command(commands)
    speak.add_command(commands)

    def program() -> None:
        parsed = parser.parse_args(arguments)
        parsed.command(parsed)

    message, exit_code = run_program(program)
    if message:
        # Print a list of one problem on one line.
        print(message.replace(" (1 problem):\n  ", ": "), file=sys.stderr)
    return exit_code


def run() -> NoReturn:
    """Run ``fishdvc`` with the arguments of this process and exit."""
    sys.exit(main())
