"""The choice of the clips to validate on."""

from collections import Counter
from pathlib import PurePosixPath

import pytest

from fishdvc.corpus.held_out import by_speaker, hold_out
from fishdvc.errors import DatasetError


def speakers_of(counts: dict[str, int]) -> list[str]:
    return [f"{name}/{i}" for name, count in counts.items() for i in range(count)]


COUNTS = {"ann": 100, "bob": 5, "carl": 4, "more/dora": 33, "eve": 1}


@pytest.mark.parametrize("val_fraction", [0.01, 0.1, 0.5])
def test_the_share_of_each_speaker_is_held_out(val_fraction: float) -> None:
    held_out = hold_out(speakers_of(COUNTS), val_fraction=val_fraction, seed=0)
    found = Counter(PurePosixPath(name).parent.as_posix() for name in held_out)
    for speaker, count in COUNTS.items():
        minimum = 1 if count >= 5 else 0
        assert found[speaker] == max(minimum, round(val_fraction * count))
        assert found[speaker] < count


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_clips() -> None:
    names = speakers_of(COUNTS)
    choices = {hold_out(names, val_fraction=0.1, seed=seed) for seed in range(10)}
    assert len(choices) == 10
    assert hold_out(names[::-1], val_fraction=0.1, seed=3) in choices


@pytest.mark.parametrize("count", range(20, 60, 4))
def test_adding_a_clip_moves_at_most_one_other(count: int) -> None:
    names = speakers_of({"ann": count, "bob": 9})
    before = hold_out(names, val_fraction=0.1, seed=count)
    after = hold_out([*names, "ann/new"], val_fraction=0.1, seed=count)
    assert len((before ^ after) - {"ann/new"}) <= 1
    assert all(name.startswith("ann/") for name in before ^ after)


@pytest.mark.parametrize(
    "counts", [{"ann": 2}, {"ann": 1, "bob": 1}, {"ann": 4}, {"ann": 1, "bob": 1, "eve": 2}]
)
def test_one_clip_of_a_small_corpus_is_held_out(counts: dict[str, int]) -> None:
    assert len(hold_out(speakers_of(counts), val_fraction=0.1, seed=0)) == 1


def test_a_single_clip_raises() -> None:
    with pytest.raises(DatasetError, match="expected at least 2 different clips"):
        hold_out(["ann/1"], val_fraction=0.1, seed=0)


def test_a_speaker_is_the_path_of_a_folder() -> None:
    assert by_speaker(["ben/clips/1", "anna/clips/2", "anna/clips/1", "top"]) == {
        ".": ["top"],
        "anna/clips": ["anna/clips/2", "anna/clips/1"],
        "ben/clips": ["ben/clips/1"],
    }


@pytest.mark.parametrize("seed", range(20))
def test_copies_are_held_out_together_within_the_share(seed: int) -> None:
    names = speakers_of({"ann": 40, "bob": 9})
    copies = [names[:2], names[5:15]]
    held_out = hold_out(names, copies, val_fraction=0.1, seed=seed)
    assert all(len(held_out & set(group)) in (0, len(group)) for group in copies)
    assert Counter(name.split("/")[0] for name in held_out) == {"ann": 4, "bob": 1}


def test_copies_of_two_speakers_are_held_out_together() -> None:
    names = speakers_of({"ann": 10, "bob": 10})
    copies = [("ann/0", "bob/0")]
    choices = [hold_out(names, copies, val_fraction=0.2, seed=seed) for seed in range(100)]
    assert all(("ann/0" in choice) == ("bob/0" in choice) for choice in choices)
    assert any("bob/0" in choice for choice in choices)


def test_the_smallest_group_of_a_speaker_is_held_out_if_all_are_larger_than_the_share() -> None:
    names = speakers_of({"ann": 9, "bob": 10})
    copies = [names[:2], names[2:5], names[5:9]]
    held_out = hold_out(names, copies, val_fraction=0.1, seed=0)
    assert {name for name in held_out if name.startswith("ann/")} == {"ann/0", "ann/1"}
    assert len(held_out) == 3


def test_a_small_corpus_loses_a_clip_of_its_largest_speaker_and_no_copies() -> None:
    names = speakers_of({"ann": 1, "bob": 3, "eve": 2})
    (held_out,) = hold_out(names, [names[1:3]], val_fraction=0.1, seed=0)
    assert held_out == "bob/2"


def test_copies_of_a_single_clip_raise() -> None:
    names = speakers_of({"ann": 9})
    with pytest.raises(DatasetError, match=r"expected at least 2 different clips, .* got 1"):
        hold_out(names, [names], val_fraction=0.1, seed=0)
