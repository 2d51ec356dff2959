"""Settings out of range are named, whatever they are."""

import pytest

from fishdvc.generation.settings import Sampling


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_settings_that_give_no_distribution_are_refused(value: float) -> None:
    sampling = Sampling(temperature=value, top_p=value, repetition_penalty=value)
    names = [problem.split(":")[0] for problem in sampling.problems()]
    assert names == ["temperature", "top_p", "repetition_penalty"]


def test_the_defaults_and_the_edges_are_in_range() -> None:
    assert not Sampling().problems()
    assert not Sampling(temperature=1e-3, top_p=1.0, repetition_penalty=1.0).problems()
