"""Results of an evaluation as files for programs: a table by step, the choice, and figures."""

import csv
import io
from pathlib import Path

from fishdvc.evaluation.results import Evaluation, Row
from fishdvc.lora.choice import ChosenCheckpoint

FIGURES = (
    *("cer", "similarity", "distillmos", "ended_share", "looped_share", "val_loss"),
    *("voice_difference", "duration_ratio", "longest_silence_s"),
)
"""Metrics by importance. The plots of dvc.yaml show some of them."""
NUM_FIGURES = 6
HIDDEN_CURVES = ("tokens_per_second",)
"""Curves that differ between two equal runs."""
DIGITS = 5


def checkpoint_table(evaluation: Evaluation) -> str:
    """Return a CSV table with a line for the base and for each checkpoint.

    Columns are ``name``, ``step``, ``failed_gates`` (their number), and ``metric``, ``metric_low``
    and ``metric_high`` for each metric. A value that was not measured is empty. ``FIGURES`` have
    columns in any case, because ``dvc plots`` warns of missing columns.
    """
    names = list(dict.fromkeys([*(metric.name for metric in evaluation.metrics), *FIGURES]))
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    writer.writerow(["name", "step", "failed_gates", *columns])
    for row in evaluation.rows:
        if row.step is not None:
            values = [value for name in names for value in _values(row, name)]
            writer.writerow([row.name, row.step, len(row.failures), *values])
    return content.getvalue()


def _values(row: Row, metric: str) -> list[float | str]:
    interval = row.metrics.get(metric)
    if interval is None:
        return ["", "", ""]
    return [round(value, DIGITS) for value in (interval.value, interval.low, interval.high)]


def figures(row: Row) -> dict[str, float]:
    """Return the six most important metrics of those that were measured."""
    measured = [name for name in FIGURES if name in row.metrics][:NUM_FIGURES]
    return {name: round(row.metrics[name].value, DIGITS) for name in measured}


def chosen_checkpoint(evaluation: Evaluation, *, num_clips: int, hours: float) -> ChosenCheckpoint:
    """Return what the stage ``merge`` reads. ``hours`` is the duration of the clips."""
    return ChosenCheckpoint(
        checkpoint=evaluation.choice.checkpoint,
        reason=evaluation.choice.reason,
        warning=evaluation.choice.warning,
        num_clips=num_clips,
        hours=round(hours, 4),
        figures={row.name: figures(row) for row in evaluation.rows if row.step is not None},
    )


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read DVCLive's curves: points by name, such as ``val loss``."""
    curves = {}
    for path in sorted(folder.rglob("*.tsv")):
        if path.stem not in HIDDEN_CURVES:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            points = [(int(row["step"]), float(row[path.stem])) for row in rows]
            curves[f"{path.parent.name} {path.stem}"] = points
    return curves
