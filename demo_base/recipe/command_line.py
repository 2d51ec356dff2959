"""Command lines of the stages: every argument is a path and is required."""

import argparse
from pathlib import Path


def parse_paths(description: str | None, **paths: str) -> argparse.Namespace:
    """Parse ``--name PATH`` for each name.

    Args:
        description: Help of the script.
        paths: Help of each argument, by name; ``_`` in a name becomes ``-`` in the option.

    Returns:
        A namespace of ``Path`` values.
    """
    parser = argparse.ArgumentParser(description=description)
    for name, help_text in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=help_text)
    return parser.parse_args()
