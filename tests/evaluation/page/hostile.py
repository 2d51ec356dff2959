"""Make a listening page in which every string is hostile."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fishdvc.corpus.findings import DataWarning
from fishdvc.evaluation.page.page import write_page
from fishdvc.evaluation.results import Evaluation, Sentence
from tests.evaluation.page.example import (
    RATE_HZ,
    make_curves,
    make_data_report,
    make_evaluation,
    write_all_media,
)

HOSTILE = """<script>hacked=1</script><img src=x onerror=hacked=1>"'&{{7*7}}</h3>"""
HOSTILE_NAME = """a "b" 'c' #1 100% ?<i>&amp;"""
NUM_CHECKPOINTS = 50


def make_page(folder: Path) -> Evaluation:
    """Write a page with 50 checkpoints and with short sounds, in which every string is hostile."""
    sentences = (
        Sentence(name="first", text="Good bye.", speaker="A", source="held_out", reference="r"),
        Sentence(name=HOSTILE_NAME, text=HOSTILE, speaker=HOSTILE, source="own", reference=HOSTILE),
    )
    evaluation = make_evaluation(num_checkpoints=NUM_CHECKPOINTS, sentences=sentences)
    *rows, last = evaluation.rows
    evaluation = replace(
        evaluation,
        metrics=tuple(
            replace(metric, title=metric.title + HOSTILE, meaning=HOSTILE)
            for metric in evaluation.metrics
        ),
        rows=(*rows, replace(last, failures=(HOSTILE,))),
        players={
            row: {name: replace(player, heard=HOSTILE) for name, player in players.items()}
            for row, players in evaluation.players.items()
        },
        choice=replace(evaluation.choice, reason=HOSTILE, warning=HOSTILE),
        not_measured=(HOSTILE,),
    )
    time_s = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    # The rows that the tests show or compare.
    names = {row.name for row in (*rows[:4], rows[7], last)} | {*evaluation.choice.compare_first}
    shown = tuple(row for row in evaluation.rows if row.name in names)
    write_all_media(folder, replace(evaluation, rows=shown), [tone] * len(sentences))
    report = make_data_report()
    speaker = replace(report.speakers[0], name=HOSTILE)
    warning = DataWarning(kind="x", message=HOSTILE, advice=HOSTILE, files=(HOSTILE,))
    histogram = replace(report.histograms[0], title=HOSTILE)
    report = replace(report, speakers=(speaker,), warnings=(warning,), histograms=(histogram,))
    curves = {f"{HOSTILE} {name}": points for name, points in make_curves(1000).items()}
    write_page(folder, evaluation, curves=curves, data_report=report)
    return evaluation
