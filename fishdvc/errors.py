"""Exceptions for errors that a user can fix, and the format of their messages."""

import re
from collections.abc import Sequence

MAX_LISTED_PROBLEMS = 20
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line ends, and bytes of file names and arguments that are not UTF-8."""


class FishdvcError(Exception):
    """Base of all errors that a user can fix. A stage prints the message and exits with code 1."""


class ParamsError(FishdvcError):
    """A value in params.yaml is unknown, of the wrong type or out of range."""


class AudioError(FishdvcError):
    """An audio file cannot be read, or its samples cannot be used."""


class DatasetError(FishdvcError):
    """Clips, transcripts, codes or shards of a dataset are missing or invalid."""


class CheckpointError(FishdvcError):
    """Weights, a tokenizer or a model folder are missing, damaged or do not fit together."""


def list_problems(summary: str, problems: Sequence[str]) -> str:
    """Format problems as one message: the summary with the count, then the first 20 problems.

    Args:
        summary: What is wrong and what to do, in one line without the count.
        problems: One line per problem. Each line names its file.

    Returns:
        ``1 + min(len(problems), 20)`` lines, and one more line if problems are left out.
    """
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    lines = [f"{summary} ({count}):", *(f"  {p}" for p in problems[:MAX_LISTED_PROBLEMS])]
    if len(problems) > MAX_LISTED_PROBLEMS:
        lines.append(f"  ... and {len(problems) - MAX_LISTED_PROBLEMS} more")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return a text as one line of valid Unicode that a terminal shows and does not obey.

    Control characters, line ends and bytes that are not UTF-8 are escaped as in Python.
    """
    return _UNPRINTABLE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each as ``printable`` does."""
    return "\n".join(map(printable, text.split("\n")))


def _escaped(match: re.Match[str]) -> str:
    # Python decodes the byte B of a name that is not UTF-8 as the surrogate U+DCB.
    is_byte = "\udc80" <= match[0] <= "\udcff"
    return f"\\x{ord(match[0]) - 0xDC00:02x}" if is_byte else repr(match[0])[1:-1]
