"""Command-line arguments and error handling of all stages."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fishdvc.errors import FishdvcError


def stage_arguments(description: str | None, **paths: str) -> argparse.Namespace:
    """Parse a stage's paths. Each is a required option of the same name.

    Stages call this before they import the library, so that ``--help`` is fast.

    Args:
        description: Docstring of the stage script.
        paths: Name and meaning of each path that the stage reads or writes.

    Returns:
        The paths, and ``params``, the parameter file.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)"
    )
    for name, meaning in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=meaning)
    return parser.parse_args()


def run_stage(stage: Callable[[], str]) -> None:
    """Run a stage and print its summary. A FishdvcError becomes a message and exit code 1."""
    try:
        if summary := stage():  # empty on all processes but the first
            print(summary)
    except FishdvcError as error:
        sys.exit(f"error: {error}")
