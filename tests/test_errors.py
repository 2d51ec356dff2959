"""Format of a list of problems."""

import pytest

from fishdvc.errors import list_problems


def test_one_problem_is_singular() -> None:
    assert list_problems("correct", ["a: bad"]) == "correct (1 problem):\n  a: bad"


@pytest.mark.parametrize(("count", "last"), [(20, []), (23, ["  ... and 3 more"])])
def test_the_first_20_problems_are_listed_and_all_are_counted(count: int, last: list[str]) -> None:
    lines = list_problems("correct", [f"p{i}" for i in range(count)]).splitlines()
    assert lines == [f"correct ({count} problems):", *(f"  p{i}" for i in range(20)), *last]
