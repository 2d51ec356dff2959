"""The errors that a user may see, and how a list of problems is worded.

Knows nothing of audio, models or files: callers say where, what, got what and what to do.
"""

from collections.abc import Sequence

MAX_LISTED_PROBLEMS = 20


class FishdvcError(Exception):
    """Base of every error that is the user's to mend; a stage prints it and exits with code 1."""


class ParamsError(FishdvcError):
    """A value in params.yaml is unknown, of the wrong type or out of range."""


class AudioError(FishdvcError):
    """An audio file cannot be read, or its samples cannot be used."""


class DatasetError(FishdvcError):
    """The clips, transcripts, codes or shards of a dataset are not as they must be."""


class CheckpointError(FishdvcError):
    """A file of weights, a tokenizer or a model folder is missing, damaged or of another shape."""


def list_problems(summary: str, problems: Sequence[str]) -> str:
    """Word several problems as one report: the summary with the count, then the first 20 of them.

    Args:
        summary: What went wrong and what to do, one line, without the count.
        problems: One line for each problem, each naming its file.

    Returns:
        A text of ``1 + min(len(problems), 20)`` lines, and one more where some were left out.
    """
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    lines = [f"{summary} ({count}):", *(f"  {p}" for p in problems[:MAX_LISTED_PROBLEMS])]
    if len(problems) > MAX_LISTED_PROBLEMS:
        lines.append(f"  ... and {len(problems) - MAX_LISTED_PROBLEMS} more")
    return "\n".join(lines)
