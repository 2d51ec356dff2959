"""Geometry of the charts of the listening page, which its template draws as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fishdvc.corpus.findings import Histogram
from fishdvc.corpus.numbers import round_step

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
NUM_TICKS = 5
MAX_POINTS = 500
"""Points of a line. More are not visible."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values from ``low`` to ``high`` to pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def pixel(self, value: float) -> float:
        """Return the position of a value, in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """List up to six round values as pixels and labels."""
        step = round_step((self.high - self.low) / NUM_TICKS)
        values = range(math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6) + 1)
        return [(self.pixel(value * step), f"{value * step:,.10g}") for value in values]


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Curves over optimizer steps. ``lines`` are the name and SVG points of each curve."""

    x: Axis
    y: Axis
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Numbers of clips by a measure.

    ``bars`` are the left edge, top edge, width, height and description of each bar.
    """

    title: str
    x: Axis
    y: Axis
    bars: tuple[tuple[float, float, float, float, str], ...]


def line_charts(curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[LineChart]:
    """Lay out curves. Those whose names end in the same word, such as losses, share a chart."""
    groups: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, points in curves.items():
        finite = [point for point in points if math.isfinite(point[1])]
        if finite:
            groups.setdefault(name.split()[-1], {})[name] = finite
    return [_line_chart(group) for group in groups.values()]


def bar_chart(histogram: Histogram) -> BarChart:
    """Lay out a histogram."""
    edges = histogram.edges
    x = _axis((edges[0], edges[-1]), LEFT, WIDTH - RIGHT)
    y = _axis((0, *histogram.counts), HEIGHT - BOTTOM, TOP, rounded=True)
    bars = []
    for left, right, count in zip(edges, edges[1:], histogram.counts, strict=False):
        start, end, top = x.pixel(left), x.pixel(right), y.pixel(count)
        text = f"{left:g} to {right:g}: {count}"
        bars.append((start, top, max(end - start - 1, 1), y.start - top, text))
    return BarChart(title=histogram.title, x=x, y=y, bars=tuple(bars))


def _line_chart(curves: Mapping[str, Sequence[tuple[int, float]]]) -> LineChart:
    x = _axis([s for points in curves.values() for s, _ in points], LEFT, WIDTH - RIGHT)
    values = [v for points in curves.values() for _, v in points]
    y = _axis(values, HEIGHT - BOTTOM, TOP, rounded=True)
    lines = []
    for name, points in curves.items():
        shown = [*points[: -1 : max(1, len(points) // MAX_POINTS)], points[-1]]
        lines.append((name, " ".join(f"{x.pixel(s):g},{y.pixel(v):g}" for s, v in shown)))
    return LineChart(x=x, y=y, lines=tuple(lines))


def _axis(values: Sequence[float], start: float, end: float, *, rounded: bool = False) -> Axis:
    low, high = min(values), max(values)
    # A single value gets an axis that starts at it.
    high = high if high > low else low + 1
    if rounded:
        step = round_step((high - low) / NUM_TICKS)
        low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return Axis(low=low, high=high, start=start, end=end)
