"""The command ``fishdvc``: finds the command asked for; an error becomes a line and exit code 1.

Starts without torch.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from fishdvc.cli import speak
from fishdvc.errors import FishdvcError, ParamsError

INTERRUPTED = 130
"""What shells say of a program that was stopped by Ctrl-C."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the package."""

    def error(self, message: str) -> NoReturn:
        raise ParamsError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What stands after ``fishdvc``; None: this process's own.

    Returns:
        The exit code.
    """
    parser = _Parser(prog="fishdvc", description="Commands for people; stages run by dvc repro.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    speak.add_command(commands)
    try:
        parsed = parser.parse_args(arguments)
        parsed.command(parsed)
    except FishdvcError as error:
        # A list of one is a line.
        message = str(error).replace(" (1 problem):\n  ", ": ")
        print(f"error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def run() -> NoReturn:
    """Be the program ``fishdvc``."""
    sys.exit(main())
