"""The file of the listening page, without a browser."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fishdvc.evaluation.page.page import write_page
from fishdvc.evaluation.results import Interval, Sentence
from tests.evaluation.page.example import make_curves, make_data_report, make_evaluation

SENTENCES = (
    Sentence(name="a", text="Good bye.", speaker="SPK1", source="held_out", reference="r"),
    Sentence(name="b", text="Hello.", speaker="SPK1", source="own", reference=None),
)


def text_of(html: str) -> str:
    """The text without tags and with single spaces."""
    body = html[html.index("<body>") : html.index("<script>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def cells(html: str, row: str) -> list[str]:
    """The cells of a row of the table, without the first one."""
    body = html[html.index(f'<tr data-row="{row}"') :]
    return re.findall(r"<td .*?</td>", body[: body.index("</tr>")], re.DOTALL)


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    evaluation = make_evaluation(num_checkpoints=3, sentences=SENTENCES)
    for name in ("first", "second"):
        write_page(
            tmp_path / name, evaluation, curves=make_curves(60), data_report=make_data_report()
        )
    pages = [tmp_path / name / "index.html" for name in ("first", "second")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_page_begins_with_the_warning_then_the_choice_and_its_reason(tmp_path: Path) -> None:
    evaluation = make_evaluation(num_checkpoints=3, sentences=SENTENCES, passing=False)
    write_page(tmp_path, evaluation, curves={}, data_report=None)
    text = text_of((tmp_path / "index.html").read_text(encoding="utf-8"))
    warning, reason = str(evaluation.choice.warning), evaluation.choice.reason
    order = [text.index(part.replace("'", "&#39;")) for part in (warning, " is chosen", reason)]
    assert order == sorted(order)
    assert order[0] < 60
    assert "Training" not in text
    assert "Speakers" not in text


@pytest.mark.parametrize("missing", ["not measured", "not finite"])
def test_a_value_that_was_not_measured_is_a_dash(missing: str, tmp_path: Path) -> None:
    evaluation = make_evaluation(num_checkpoints=2, sentences=SENTENCES)
    *rows, last = evaluation.rows
    nan = Interval(value=math.nan, low=math.nan, high=math.nan)
    metrics = {"cer": nan} if missing == "not finite" else {}
    evaluation = replace(evaluation, rows=(*rows, replace(last, metrics=metrics, ties=())))
    write_page(tmp_path, evaluation, curves={}, data_report=None)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    _, *values = cells(html, last.name)
    assert len(values) == len(evaluation.metrics)
    assert all("–" in value and "better" not in value for value in values)


def test_figures_are_compared_with_those_of_the_base(tmp_path: Path) -> None:
    evaluation = make_evaluation(num_checkpoints=1, sentences=SENTENCES)
    *bounds, base, row = evaluation.rows
    figures = {
        "cer": (0.3, 0.2, "better"),
        "similarity": (0.6, 0.5, "worse"),
        "mos": (3.0, 3.5, "tie"),
        "ended": (0.9, 1.0, "better"),
        "longest_silence_s": (0.2, 0.3, "worse"),
        "f0_median_hz": (190.0, 200.0, ""),
    }
    of_base, of_row = (
        {name: Interval(value=both[i], low=both[i], high=both[i]) for name, both in figures.items()}
        for i in (0, 1)
    )
    rows = (*bounds, replace(base, metrics=of_base), replace(row, metrics=of_row, ties=("mos",)))
    write_page(tmp_path, replace(evaluation, rows=rows), curves={}, data_report=None)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    verdicts = [re.findall('class="verdict ([a-z]*)"', cell) for cell in cells(html, row.name)]
    # The gates and the loss, which was not measured, have none.
    assert verdicts == [[], [], *([verdict] for _, _, verdict in figures.values())]
    assert not any("verdict" in cell for cell in cells(html, "base"))


def test_failed_gates_are_listed(tmp_path: Path) -> None:
    evaluation = make_evaluation(num_checkpoints=3, sentences=SENTENCES)
    *rows, first, second, third = evaluation.rows
    rows += [
        replace(first, failures=("It is slow.", "It is loud."), problem=None),
        replace(second, failures=("cannot be chosen: cut",), problem="cut"),
        replace(third, failures=()),
    ]
    write_page(tmp_path, replace(evaluation, rows=tuple(rows)), curves={}, data_report=None)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    gates = {row.name: cells(html, row.name)[0] for row in rows}
    assert "<li>It is slow.</li><li>It is loud.</li>" in gates[first.name]
    assert 'data-value="2"' in gates[first.name]
    # A problem is last in both orders.
    assert 'data-value="nan"' in gates[second.name]
    assert ">passes<" in gates[third.name]
    assert "passes" not in gates[first.name] + gates[second.name] + gates["base"]


def test_the_page_begins_with_a_recorded_sentence_of_the_recording_the_base_and_the_choice(
    tmp_path: Path,
) -> None:
    recorded, own = SENTENCES
    sentences = (own, recorded, replace(own, name="c"))
    evaluation = make_evaluation(num_checkpoints=3, sentences=sentences)
    write_page(tmp_path, evaluation, curves={}, data_report=None)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    header = html[html.index("<header>") : html.index("</header>")]
    assert '<p class="sentence" dir="auto">Good bye.</p>' in header
    rows = re.findall('<li class="clip .*? data-row="(.*?)"', header)
    assert rows == ["recording", "base", evaluation.choice.checkpoint]
