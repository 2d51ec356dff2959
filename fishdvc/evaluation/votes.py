"""Read the votes of the listening page's blind test."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Strict

from fishdvc.errors import ParamsError
from fishdvc.evaluation.results import Player
from fishdvc.storage.small_files import read_small_file
from fishdvc.validation import Checked, parse, shown

MAX_BYTES = 10**7


class Vote(Checked):
    """A person's choice between two rows that speak the same sentence."""

    sentence: str = Field(description="the name of the sentence")
    row_a: str = Field(description="the name of the row that was heard as clip 1")
    row_b: str = Field(description="the name of the row that was heard as clip 2")
    audio_a: str = Field(description="the hash of what was heard as clip 1")
    audio_b: str = Field(description="the hash of what was heard as clip 2")
    winner: str = Field(description="row_a or row_b, whichever sounds better")

    def inconsistencies(self) -> Iterable[str]:
        """Check that two rows were compared and that one of them won."""
        if self.row_a == self.row_b:
            yield f"row_b: must differ from row_a, got {self.row_b!r} twice"
        if self.winner not in (self.row_a, self.row_b):
            yield f"winner: must be {self.row_a!r} or {self.row_b!r}, got {self.winner!r}"


class _VotesFile(Checked):
    version: Literal[2] = Field(description="the version of the format, 2")
    votes: Annotated[tuple[Vote, ...], Strict(False)] = Field(description="a list of votes")


def read_votes(path: Path) -> tuple[Vote, ...]:
    """Read the file that the blind test exports, in the order of the votes.

    Raises:
        ParamsError: The file cannot be read or its content is invalid.
    """
    try:
        values = json.loads(read_small_file(path, max_bytes=MAX_BYTES).decode("utf-8-sig"))
    # Deep nesting raises RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise ParamsError(
            f"evaluate.listening_votes: cannot read {path}: {error}; "
            "export the votes from the listening page again"
        ) from error
    return parse(values, _VotesFile, where=str(path), error=ParamsError).votes


def count_wins(
    votes: Sequence[Vote], players: Mapping[str, Mapping[str, Player]]
) -> tuple[dict[str, int], list[str]]:
    """Count the comparisons that each row won.

    A vote counts if both clips that were heard are still the speech of their rows, so votes do not
    pass to a checkpoint that was trained again.

    Args:
        votes: From ``read_votes``.
        players: By name of the row, then of the sentence.

    Returns:
        Wins of the rows that were compared, and a line if votes do not count.
    """
    heard = {
        (row, sentence, player.audio_hash)
        for row, of_row in players.items()
        for sentence, player in of_row.items()
    }
    wins: dict[str, int] = {}
    changed: list[str] = []
    for vote in votes:
        clips = ((vote.row_a, vote.audio_a), (vote.row_b, vote.audio_b))
        others = [row for row, audio in clips if (row, vote.sentence, audio) not in heard]
        if not others:
            for row, _ in clips:
                wins[row] = wins.get(row, 0) + (row == vote.winner)
        changed += others[:1]
    if not changed:
        return wins, []
    return wins, [
        f"not counted: {len(changed)} of {len(votes)} votes, because this is not the speech that "
        f"was heard: {shown(sorted(set(changed)))}; vote on the new page"
    ]
