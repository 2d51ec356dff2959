"""Write a data report as text and as JSON, and read the JSON."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fishdvc.corpus.findings import DataReport
from fishdvc.corpus.numbers import counted, duration
from fishdvc.errors import DatasetError
from fishdvc.storage.atomic import write_text
from fishdvc.storage.small_files import read_small_file

BAR_WIDTH = 40
"""Characters of the bar of the highest count."""
MAX_REPORT_BYTES = 10**8
"""The names of a million clips."""
_REPORT = TypeAdapter(DataReport)


def write_report(path: Path, report: DataReport) -> None:
    """Write a data report as JSON, with the names of the fields of ``DataReport``."""
    write_text(path, _REPORT.dump_json(report, indent=2).decode() + "\n")


def read_report(path: Path) -> DataReport:
    """Read a data report that ``write_report`` wrote.

    Raises:
        DatasetError: The file does not contain a data report.
    """
    try:
        return _REPORT.validate_json(read_small_file(path, max_bytes=MAX_REPORT_BYTES))
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{path}: not a data report; run dvc repro check: {error}") from error


def format_report(
    report: DataReport, *, histograms: bool = True, max_files: int | None = None
) -> str:
    """Format a report for people, with up to ``max_files`` files of each warning."""
    lines = [*_speaker_lines(report), ""]
    if histograms:
        lines += _histogram_lines(report)
    lines += _warning_lines(report, max_files)
    return "\n".join(lines)


def one_line(report: DataReport) -> str:
    """Return the number of clips and speakers, their duration, and the kinds of warnings."""
    num_clips = sum(speaker.num_clips for speaker in report.speakers)
    duration_s = sum(speaker.duration_s for speaker in report.speakers)
    kinds = ", ".join(f"{warning.kind} ({len(warning.files)})" for warning in report.warnings)
    return (
        f"{counted(num_clips, 'clip')} of {counted(len(report.speakers), 'speaker')}, "
        f"{duration(duration_s)}, warnings: {kinds or 'none'}"
    )


def _speaker_lines(report: DataReport) -> Iterator[str]:
    width = max((len(speaker.name) for speaker in report.speakers), default=0)
    for speaker in report.speakers:
        clips = counted(speaker.num_clips, "clip")
        yield f"{speaker.name:{width}}  {clips:>12}  {duration(speaker.duration_s):>10}"


def _histogram_lines(report: DataReport) -> Iterator[str]:
    for histogram in report.histograms:
        yield histogram.title
        highest = max(histogram.counts)
        edges = [f"{edge:g}" for edge in histogram.edges]
        labels = [f"{low} to {high}" for low, high in pairwise(edges)]
        width = max(map(len, labels))
        for label, count in zip(labels, histogram.counts, strict=True):
            bar = "#" * round(BAR_WIDTH * count / highest)
            yield f"  {label:>{width}}  {count:6}  {bar}".rstrip()
        yield ""


def _warning_lines(report: DataReport, max_files: int | None) -> Iterator[str]:
    for warning in report.warnings:
        yield f"{warning.kind} ({len(warning.files)}): {warning.message} {warning.advice}"
        yield from (f"  {file}" for file in warning.files[:max_files])
        if max_files is not None and len(warning.files) > max_files:
            yield f"  ... and {len(warning.files) - max_files} more"
        yield ""
