"""Means, intervals and ties."""

import numpy as np
import pytest

from fishdvc.evaluation.bootstrap import mean_interval, paired_difference, summarize
from fishdvc.evaluation.results import Interval


def test_interval_equals_the_normal_interval_for_many_values() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400).tolist()
    interval = mean_interval(values)
    half_width = 1.96 * np.std(values) / 20
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.low == pytest.approx(interval.value - half_width, abs=0.1 * half_width)
    assert interval.high == pytest.approx(interval.value + half_width, abs=0.1 * half_width)


def test_same_values_have_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=20).tolist()
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval([2.0]) == Interval(value=2, low=2, high=2)


def test_difference_is_of_the_sentences_of_both() -> None:
    values = {"a": {"cer": 0.5}, "b": {"cer": 0.3}, "c": {"cer": 9.0}, "d": {}}
    others = {"a": {"cer": 0.4}, "b": {"cer": 0.2}, "d": {"cer": 9.0}}
    difference = paired_difference(values, others, "cer")
    assert difference is not None
    assert [difference.value, difference.low, difference.high] == pytest.approx([0.1] * 3)
    assert paired_difference(values, others, "wer") is None


def test_row_has_the_mean_of_each_metric_and_its_ties() -> None:
    base = {str(i): {"cer": 0.1 * i, "wer": 0.1 * i} for i in range(10)}
    better = {k: {"cer": v["cer"] - 0.05, "wer": v["wer"] * 1.0} for k, v in base.items()}
    better["0"].pop("wer")
    row = summarize(name="step-1", kind="checkpoint", step=1, values=better, base=base)
    assert row.metrics["cer"].value == pytest.approx(0.4)
    assert row.metrics["wer"].value == pytest.approx(0.5)
    # Lower for every sentence, though the intervals of the means overlap.
    assert row.ties == ("wer",)


def test_base_has_no_ties_with_itself() -> None:
    values = {"a": {"cer": 0.5}}
    assert summarize(name="base", kind="base", step=0, values=values, base=None).ties == ()
