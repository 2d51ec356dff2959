"""Write the listening page, one HTML file that needs no network and no server."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fishdvc.corpus.findings import DataReport
from fishdvc.corpus.numbers import duration
from fishdvc.evaluation.page.charts import bar_chart, line_charts
from fishdvc.evaluation.page.differences import mark_differences
from fishdvc.evaluation.results import Evaluation, Metric, Row
from fishdvc.storage.atomic import write_text

PAGE_NAME = "index.html"
_ASSETS = Path(__file__).parent
_UNITS = {"s": "s", "hz": "Hz", "db": "dB", "semitones": "semitones"}
"""By the last word of a metric's name."""
_NAMES = {"recording": "Recording", "codec": "Codec round trip", "base": "Base"}


def write_page(
    folder: Path,
    evaluation: Evaluation,
    *,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    data_report: DataReport | None,
) -> None:
    """Write ``index.html`` into a folder that has the sounds and pictures of the players.

    The page opens from the disk and requests nothing but those files. The same arguments give the
    same bytes.

    Args:
        folder: Folder that the paths of the players are relative to.
        evaluation: Results to show.
        curves: Points ``(step, value)`` by name of the curve, see ``line_charts``.
        data_report: Result of the check of the dataset. None leaves the section out.
    """
    script, style = (
        (_ASSETS / name).read_text(encoding="utf-8") for name in ("script.js", "style.css")
    )
    rows = {row.name: row for row in evaluation.rows}
    recorded = evaluation.players.get("recording", {})
    template = _environment().get_template("template.html")
    html = template.render(
        evaluation=evaluation,
        rows=rows,
        base=next(row for row in evaluation.rows if row.kind == "base"),
        chosen=rows[evaluation.choice.checkpoint],
        shown=_shown_rows(evaluation),
        # With a recording if there is one.
        first_sentence=max(evaluation.sentences, key=lambda sentence: sentence.name in recorded),
        charts=line_charts(curves),
        data_report=data_report,
        histograms=[bar_chart(h) for h in data_report.histograms] if data_report else [],
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )
    write_text(folder / PAGE_NAME, html)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "label": _label,
        "number": _number,
        "title": _title,
        "url": quote,
        "verdict": _verdict,
    }
    environment.globals["mark_differences"] = mark_differences
    return environment


def _shown_rows(evaluation: Evaluation) -> set[str]:
    """Name the rows whose players are shown at first: few enough for one screen."""
    checkpoints = [row.name for row in evaluation.rows if row.kind == "checkpoint"]
    shown = {row.name for row in evaluation.rows if row.kind != "checkpoint"}
    return shown | {checkpoints[0], evaluation.choice.checkpoint, checkpoints[-1]}


def _label(row: Row) -> str:
    return _NAMES.get(row.kind) or (row.name if row.step is None else f"Step {row.step:,}")


def _number(value: float, metric: Metric) -> str:
    return f"{value:.{metric.digits}f}" if math.isfinite(value) else "–"


def _title(metric: Metric) -> str:
    unit = _UNITS.get(metric.name.rpartition("_")[2])
    return f"{metric.title}, {unit}" if unit else metric.title


def _verdict(row: Row, base: Row, metric: Metric) -> str:
    """Compare a row with the base in a word."""
    if metric.name in row.ties:
        return "tie"
    if metric.better is None:
        return ""
    difference = row.metrics[metric.name].value - base.metrics[metric.name].value
    if not difference or math.isnan(difference):
        return ""
    return "better" if (difference < 0) == (metric.better == "lower") else "worse"


def _hash(text: str) -> str:
    """Return the hash that allows this inline text in a Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
