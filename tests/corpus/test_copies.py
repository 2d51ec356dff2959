"""Copies of clips are found by their codes, and by transcript and length."""

import numpy as np
import numpy.typing as npt

from fishdvc.corpus.copies import Copies, find_copies

RNG = np.random.default_rng(0)


def codes(num_frames: int = 6) -> npt.NDArray[np.uint16]:
    return RNG.integers(0, 1000, (8, num_frames)).astype(np.uint16)


def test_equal_codes_are_copies_whatever_their_text_speaker_and_type() -> None:
    once, twice = codes(), codes()
    clips = {
        "ann/1": ("One.", once),
        "ann/2": ("Two.", twice),
        "bob/1": ("One.", once.astype(np.int64)),
        "bob/2": ("Other words.", twice),
        "bob/3": ("Three.", codes()),
    }
    assert find_copies(clips) == [
        Copies(names=("ann/1", "bob/1"), shared="same audio"),
        Copies(names=("ann/2", "bob/2"), shared="same audio, different transcripts"),
    ]


def test_equal_text_and_length_of_one_speaker_are_copies() -> None:
    clips = {
        "ann/1": ("One two.", codes(6)),
        "ann/2": (" One\n two. ", codes(6)),
        "ann/3": ("One two.", codes(7)),
        "bob/1": ("One two.", codes(6)),
        "ann/4": ("Three.", codes(6)),
    }
    shared = "same transcript and length"
    assert find_copies(clips) == [Copies(names=("ann/1", "ann/2"), shared=shared)]


def test_copies_of_copies_are_in_one_group() -> None:
    same = codes()
    clips = {
        "a/1": ("One.", codes()),
        "a/2": ("Two.", same),
        "a/3": ("One.", same),
        "a/4": ("Two.", codes()),
    }
    shared = "same transcript and length"
    assert find_copies(clips) == [Copies(names=("a/1", "a/2", "a/3", "a/4"), shared=shared)]
