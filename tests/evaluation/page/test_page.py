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
    body = html[html.index(f'<tr data-row="{last.name}"') :]
    values = re.findall(r"<td data-value=.*?</td>", body[: body.index("</tr>")], re.DOTALL)
    assert len(values) == len(evaluation.metrics)
    assert all("–" in value and "better" not in value for value in values)
