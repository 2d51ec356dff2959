"""Means over sentences with bootstrap intervals (Efron 1979), and paired differences."""

from collections.abc import Mapping, Sequence

import numpy as np

from fishdvc.evaluation.results import Interval, Row, RowKind

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

SentenceValues = Mapping[str, Mapping[str, float]]
"""Values of a row, by name of the sentence, then of the metric."""


def mean_interval(values: Sequence[float]) -> Interval:
    """Compute a mean and its percentile interval. The same values always give the same interval.

    Args:
        values: One per sentence, at least one. The interval of few sentences is too narrow.
    """
    array = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(0).integers(len(array), size=(NUM_RESAMPLES, len(array)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(array[chosen].mean(axis=1), [tail, 1 - tail])
    return Interval(value=float(array.mean()), low=float(low), high=float(high))


def paired_difference(
    values: SentenceValues, others: SentenceValues, metric: str
) -> Interval | None:
    """Compute the mean of ``values - others`` over sentences that have both values.

    Sentences differ more than rows do, so this interval is narrower than those of the two means.

    Returns:
        None if no sentence has both values.
    """
    differences = [
        of_metrics[metric] - others[sentence][metric]
        for sentence, of_metrics in sorted(values.items())
        if metric in of_metrics and metric in others.get(sentence, {})
    ]
    return mean_interval(differences) if differences else None


def is_tie(difference: Interval | None) -> bool:
    """Return whether 0 lies within the interval, or nothing can be compared."""
    return difference is None or difference.low <= 0 <= difference.high


def summarize(
    *,
    name: str,
    kind: RowKind,
    step: int | None,
    values: SentenceValues,
    base: SentenceValues | None,
) -> Row:
    """Average the values of a row over its sentences, and find ties with the base.

    A sentence without a value of a metric does not count for it. The base itself has no ``base``.
    """
    metrics = sorted({metric for of_metrics in values.values() for metric in of_metrics})
    intervals = {
        metric: mean_interval(
            [values[sentence][metric] for sentence in sorted(values) if metric in values[sentence]]
        )
        for metric in metrics
    }
    differences = {metric: paired_difference(values, base or {}, metric) for metric in metrics}
    ties = tuple(m for m, difference in differences.items() if difference and is_tie(difference))
    return Row(name=name, kind=kind, step=step, metrics=intervals, ties=ties)
