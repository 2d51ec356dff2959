"""Votes of the blind test are read, and every problem of the file is named."""

import json
from pathlib import Path

import pytest

from fishdvc.errors import ParamsError
from fishdvc.evaluation.results import Player
from fishdvc.evaluation.votes import Vote, count_wins, read_votes

GOOD = {
    "sentence": "a",
    "row_a": "base",
    "row_b": "step_000000020",
    "audio_a": "1",
    "audio_b": "2",
    "winner": "base",
}


def write(path: Path, content: object) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_votes_are_read_in_their_order(tmp_path: Path) -> None:
    other = GOOD | {"sentence": "b", "winner": "step_000000020"}
    votes = read_votes(write(tmp_path / "votes.json", {"version": 2, "votes": [GOOD, other]}))
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
    path = write(tmp_path / "votes.json", {"version": 1, "votes": votes})
    with pytest.raises(ParamsError) as error:
        read_votes(path)
    message = str(error.value)
    assert str(path) in message
    for part in (
        "version: must be 2",
        "votes[0].winner: must be 'base' or 'step_000000020', got 'codec'",
        "votes[1].row_b: must differ from row_a",
        "votes[2].sentence: must be a string",
        "votes[2].audio_b: missing",
        "votes[2].winner: missing",
    ):
        assert part in message


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff"])
def test_a_file_that_is_not_json_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "votes.json"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"votes\.json"):
        read_votes(path)


def test_votes_count_for_the_speech_that_was_heard_only() -> None:
    players = {
        row: {"a": Player(audio="", audio_hash=audio, spectrogram="", heard=None, metrics={})}
        for row, audio in (("base", "1"), ("step_000000020", "2"))
    }
    old = GOOD | {"row_a": "step_000000020", "row_b": "base", "audio_b": "1"}
    gone = GOOD | {"row_b": "step_000000030"}
    votes = [Vote(**vote) for vote in (GOOD, GOOD | {"winner": "step_000000020"}, GOOD, old, gone)]
    wins, lines = count_wins(votes, players)
    assert wins == {"base": 2, "step_000000020": 1}
    assert lines == [
        "not counted: 2 of 5 votes, because this is not the speech that was heard: "
        "['step_000000020', 'step_000000030']; vote on the new page"
    ]
    assert count_wins(votes[:3], players)[1] == []


def test_a_vote_on_another_sentence_does_not_count() -> None:
    def player(audio: str) -> Player:
        return Player(audio="", audio_hash=audio, spectrogram="", heard=None, metrics={})

    players = {
        "base": {"a": player("1"), "b": player("3")},
        "step_000000020": {"a": player("2"), "b": player("4")},
    }
    wins, lines = count_wins([Vote(**GOOD), Vote(**GOOD | {"sentence": "b"})], players)
    assert wins == {"base": 1, "step_000000020": 0}
    assert lines[0].startswith("not counted: 1 of 2 votes")
