"""Histograms have bins of one width with round edges, and count every value."""

import numpy as np
import pytest

from fishdvc.corpus.histograms import MAX_BINS, histogram
from fishdvc.corpus.numbers import counted, duration


def test_values_at_an_edge_are_in_the_bin_above_it() -> None:
    found = histogram("pause_s", "Pause", 0.1, [0.1, 0.2, 0.3, 0.3, 0.35, 0.6])
    assert found.edges == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert found.counts == (1, 1, 3, 0, 0, 1)


@pytest.mark.parametrize(
    ("values", "edges"), [([44100], (44000, 45000)), ([-23.0, -23.4], (-24, -23, -22))]
)
def test_few_values_have_bins_of_the_least_width(
    values: list[float], edges: tuple[float, ...]
) -> None:
    assert histogram("a", "A", 1000 if max(values) > 0 else 1, values).edges == edges


@pytest.mark.parametrize("scale", [0.013, 1.0, 700.0])
def test_bins_have_one_round_width_and_are_few(scale: float) -> None:
    values = (scale * np.random.default_rng(0).gamma(2, 1, 500)).tolist()
    found = histogram("a", "A", 0.001, values)
    widths = np.diff(found.edges)
    assert widths == pytest.approx(widths[0])
    assert f"{widths[0]:.0e}"[0] in "125"
    assert len(found.counts) <= MAX_BINS + 1
    assert sum(found.counts) == 500


def test_numbers_are_written_for_people() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [duration(s) for s in (0.4, 28, 1110, 9000)] == ["0 s", "28 s", "18.5 min", "2.5 h"]
