"""Votes of the blind test are read, and every problem of the file is named."""

import json
from pathlib import Path

import pytest

from fishdvc.errors import ParamsError
from fishdvc.evaluation.votes import read_votes

GOOD = {"sentence": "a", "row_a": "base", "row_b": "step_000000020", "winner": "base"}


def write(path: Path, content: object) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_votes_are_read_in_their_order(tmp_path: Path) -> None:
    other = GOOD | {"sentence": "b", "winner": "step_000000020"}
    votes = read_votes(write(tmp_path / "votes.json", {"version": 1, "votes": [GOOD, other]}))
    assert [(vote.sentence, vote.winner) for vote in votes] == [
        ("a", "base"),
        ("b", "step_000000020"),
    ]


def test_every_problem_is_named(tmp_path: Path) -> None:
    votes = [
        GOOD | {"winner": "codec"},
        GOOD | {"row_b": "base"},
        {"sentence": 1, "row_a": "base", "row_b": "codec"},
    ]
    path = write(tmp_path / "votes.json", {"version": 2, "votes": votes})
    with pytest.raises(ParamsError) as error:
        read_votes(path)
    message = str(error.value)
    assert str(path) in message
    for part in (
        "version: must be 1",
        "votes[0].winner: must be 'base' or 'step_000000020', got 'codec'",
        "votes[1].row_b: must differ from row_a",
        "votes[2].sentence: must be a string",
        "votes[2].winner: missing",
    ):
        assert part in message


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff"])
def test_a_file_that_is_not_json_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "votes.json"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"votes\.json"):
        read_votes(path)
