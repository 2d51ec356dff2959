"""Handling of unusable clips: fail with a list of all of them, or skip them and write a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fishdvc.errors import DatasetError, list_problems, printable
from fishdvc.storage.atomic import write_text

OnBadClip = Literal["fail", "skip"]


def fail_or_report(
    stage: str,
    problems: Sequence[str],
    *,
    num_good: int,
    on_bad_clip: OnBadClip,
    report: Path,
    notes: Sequence[str] = (),
) -> None:
    """Raise an error that lists unusable clips, or write them to a report.

    Args:
        stage: Name of the stage, for the message.
        problems: One line per unusable clip.
        num_good: Number of usable clips.
        on_bad_clip: ``fail`` or ``skip``.
        report: File to list skipped clips in. Written even if no clip is skipped.
        notes: One line per fact about the dataset that the user should see. Written to the report.

    Raises:
        DatasetError: Clips are unusable and ``on_bad_clip`` is ``fail``, or no clip is usable.
    """
    if problems and on_bad_clip == "fail":
        todo = "correct these, or set dataset.on_bad_clip: skip to leave them out"
        raise DatasetError(list_problems(f"{stage}: {todo}", problems))
    if not num_good:
        raise DatasetError(list_problems(f"{stage}: no clip is left; correct these", problems))
    lines = [*problems, f"{stage}: notes: {len(notes)}", *notes] if notes else problems
    write_report(report, f"{stage}: problems: {len(problems)}", lines)


def write_report(path: Path, summary: str, lines: Sequence[str]) -> None:
    """Write a summary line and one line per item."""
    write_text(path, "".join(f"{printable(line)}\n" for line in (summary, *lines)))
