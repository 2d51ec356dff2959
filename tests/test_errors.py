"""Format of messages."""

import pytest

from fishdvc.errors import list_problems, printable


def test_one_problem_is_singular() -> None:
    assert list_problems("correct", ["a: bad"]) == "correct (1 problem):\n  a: bad"


@pytest.mark.parametrize(("count", "last"), [(20, []), (23, ["  ... and 3 more"])])
def test_the_first_20_problems_are_listed_and_all_are_counted(count: int, last: list[str]) -> None:
    lines = list_problems("correct", [f"p{i}" for i in range(count)]).splitlines()
    assert lines == [f"correct ({count} problems):", *(f"  p{i}" for i in range(20)), *last]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë 你好\u3000\u200b🥳.wav", "Zoë 你好\u3000\u200b🥳.wav"),
        ("a\x1b]0;title\x07\x7f\x9b2J", r"a\x1b]0;title\x07\x7f\x9b2J"),
        ("a\n\r\t\u2028b", r"a\n\r\t\u2028b"),
        ("\udcff\ud800", r"\xff\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
