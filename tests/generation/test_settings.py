"""The ranges of sampling settings."""

import pytest

from fishdvc.errors import ParamsError
from fishdvc.generation.settings import Sampling


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_values_that_are_not_finite_and_positive_are_listed(value: float) -> None:
    with pytest.raises(ParamsError) as error:
        Sampling(temperature=value, top_p=value, repetition_penalty=value)
    names = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    assert names == ["temperature", "top_p", "repetition_penalty"]


def test_top_p_is_at_most_1() -> None:
    with pytest.raises(ParamsError, match=r"top_p: expected at most 1, got 1\.5"):
        Sampling(top_p=1.5)
