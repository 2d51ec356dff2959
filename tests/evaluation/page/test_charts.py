"""Curves and histograms are laid out inside of the drawing, on round axes."""

import math

import pytest

from fishdvc.corpus.findings import Histogram
from fishdvc.evaluation.page.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    bar_chart,
    line_charts,
)


def points_of(text: str) -> list[tuple[float, float]]:
    """Parse the points of an SVG line."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_curves_with_the_same_last_word_share_a_chart() -> None:
    curves = {
        "train loss": [(0, 4.0), (10, 2.0)],
        "learning rate": [(0, 0.0), (10, 1e-4)],
        "validation loss": [(0, 4.0), (10, 3.0)],
        "empty": [],
    }
    names = [[name for name, _ in chart.lines] for chart in line_charts(curves)]
    assert names == [["train loss", "validation loss"], ["learning rate"]]


def test_a_curve_spans_the_chart_and_its_axis_has_round_numbers() -> None:
    (chart,) = line_charts({"loss": [(0, 4.0), (5, 3.0), (10, 2.1)]})
    assert [text for _, text in chart.y.ticks()] == ["2", "2.5", "3", "3.5", "4"]
    assert [text for _, text in chart.x.ticks()] == ["0", "2", "4", "6", "8", "10"]
    points = points_of(chart.lines[0][1])
    assert points[0] == (LEFT, TOP)
    assert points[1] == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)
    assert points[2][0] == WIDTH - RIGHT


def test_values_that_are_not_finite_are_left_out() -> None:
    (chart,) = line_charts({"loss": [(0, math.nan), (1, 2.0), (2, math.inf), (3, 1.0)]})
    assert len(points_of(chart.lines[0][1])) == 2


def test_a_long_curve_keeps_its_first_and_last_point() -> None:
    (chart,) = line_charts({"loss": [(step, float(step)) for step in range(100_000)]})
    points = points_of(chart.lines[0][1])
    assert len(points) <= 2 * MAX_POINTS
    assert (points[0][0], points[-1][0]) == (LEFT, WIDTH - RIGHT)


def test_a_single_point_has_a_chart() -> None:
    (chart,) = line_charts({"loss": [(10, 0.0)]})
    assert points_of(chart.lines[0][1]) == [(LEFT, HEIGHT - BOTTOM)]


def test_bars_have_heights_in_proportion_to_the_counts() -> None:
    histogram = Histogram(name="a_s", title="A", edges=(0.0, 1.0, 2.0), counts=(20, 10))
    (_, top, width, height, text), (_, _, _, half, _) = bar_chart(histogram).bars
    assert (top, height, text) == (TOP, HEIGHT - TOP - BOTTOM, "0 to 1: 20")
    assert width == pytest.approx((WIDTH - LEFT - RIGHT) / 2 - 1)
    assert half == pytest.approx(height / 2)


@pytest.mark.parametrize("counts", [(0, 0), (0, 3)])
def test_empty_bins_have_no_height(counts: tuple[int, ...]) -> None:
    histogram = Histogram(name="a_s", title="A", edges=(0.0, 1.0, 2.0), counts=counts)
    assert bar_chart(histogram).bars[0][3] == 0


def test_bars_are_as_wide_as_their_bins() -> None:
    histogram = Histogram(name="a_s", title="A", edges=(0.0, 1.0, 4.0), counts=(1, 2))
    chart = bar_chart(histogram)
    (left, _, width, _, _), (next_left, _, next_width, _, _) = chart.bars
    assert (left, next_left) == (LEFT, LEFT + (WIDTH - LEFT - RIGHT) / 4)
    assert (width + 1) * 3 == pytest.approx(next_width + 1)
    assert [text for *_, text in chart.bars] == ["0 to 1: 1", "1 to 4: 2"]
