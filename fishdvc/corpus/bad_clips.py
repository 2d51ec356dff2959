"""What becomes of clips that cannot be used: all of them are named, then the user's choice holds.

Starts without torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fishdvc.errors import DatasetError, list_problems
from fishdvc.storage.atomic import write_text

OnBadClip = Literal["fail", "skip"]


def fail_or_report(
    stage: str,
    problems: Sequence[str],
    *,
    num_good: int,
    on_bad_clip: OnBadClip,
    report: Path,
) -> None:
    """Fail with the whole list of bad clips, or write it to a report and go on without them.

    Args:
        stage: Name of the stage, for the message.
        problems: One line for each clip that cannot be used.
        num_good: Number of clips that can be.
        on_bad_clip: ``fail`` or ``skip``.
        report: Where skipped clips are listed, one line each; written even if there is none.

    Raises:
        DatasetError: There are problems and ``on_bad_clip`` is ``fail``, or no clip is left.
    """
    if problems and on_bad_clip == "fail":
        todo = "mend these, or set dataset.on_bad_clip: skip to leave them out"
        raise DatasetError(list_problems(f"{stage}: {todo}", problems))
    if not num_good:
        raise DatasetError(list_problems(f"{stage}: no clip is left; mend these", problems))
    write_report(report, f"{stage}: {len(problems)} problems", problems)


def write_report(path: Path, summary: str, lines: Sequence[str]) -> None:
    """Write a list for people: what it is and how many, then a line for each."""
    write_text(path, "".join(f"{line}\n" for line in (summary, *lines)))
