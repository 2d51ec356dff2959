"""The wording of a list of problems: the count, and the first 20."""

import pytest

from fishdvc.errors import (
    AudioError,
    CheckpointError,
    DatasetError,
    FishdvcError,
    ParamsError,
    list_problems,
)


def test_one_problem_is_singular() -> None:
    assert list_problems("mend", ["a: bad"]) == "mend (1 problem):\n  a: bad"


def test_20_problems_are_all_listed() -> None:
    lines = list_problems("mend", [f"p{i}" for i in range(20)]).splitlines()
    assert lines == ["mend (20 problems):", *(f"  p{i}" for i in range(20))]


def test_of_more_than_20_the_rest_is_counted() -> None:
    lines = list_problems("mend", [f"p{i}" for i in range(23)]).splitlines()
    assert lines[0] == "mend (23 problems):"
    assert lines[-2:] == ["  p19", "  ... and 3 more"]


@pytest.mark.parametrize("error", [ParamsError, AudioError, DatasetError, CheckpointError])
def test_every_error_of_a_user_is_caught_by_one_name(error: type[FishdvcError]) -> None:
    assert issubclass(error, FishdvcError)
    assert not issubclass(error, AssertionError | ValueError)
