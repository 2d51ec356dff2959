"""Loops in sequences of codes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fishdvc.evaluation.loops import looped_share


def codes(num_frames: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 1000, (4, num_frames))


def share(sequence: NDArray[np.int64]) -> float:
    return looped_share(sequence, np.ones(sequence.shape[1], dtype=bool))


def test_different_frames_are_no_loop() -> None:
    assert share(codes(500)) == 0


def test_sequence_spoken_twice_counts_half() -> None:
    assert share(np.tile(codes(40), 2)) == 0.5


@pytest.mark.parametrize("period", [1, 3, 10, 20])
def test_repeated_sequence_is_found_at_any_period(period: int) -> None:
    looped = np.concatenate([codes(50), np.tile(codes(period, seed=1), 150)[:, :150]], axis=1)
    assert share(looped) == pytest.approx((150 - period) / 200)


def test_loop_with_some_other_codes_is_found() -> None:
    looped = np.tile(codes(8), 25)
    looped[0, ::11] = 1000 + np.arange(len(looped[0, ::11]))
    # The first round repeats nothing, and 19 of 200 codes are others.
    assert share(looped) == pytest.approx((200 - 8 - 18) / 200, abs=0.1)


def test_only_the_first_codebook_is_compared() -> None:
    looped = codes(200)
    looped[0] = np.resize(np.arange(5), 200)
    assert share(looped) == pytest.approx(195 / 200)


def test_repeated_word_of_half_a_second_is_no_loop() -> None:
    word = codes(11)
    assert share(np.concatenate([word, codes(50, seed=1), word], axis=1)) == 0


def test_repeated_ngram_at_the_ends_is_found() -> None:
    ngram = codes(16)
    assert share(np.concatenate([ngram, codes(34, seed=1), ngram], axis=1)) == 16 / 66


def test_pause_is_no_loop() -> None:
    spoken = np.concatenate([codes(50), np.zeros((4, 50), int)], axis=1)
    assert looped_share(spoken, np.arange(100) < 50) == 0


def test_short_and_empty_sequences_are_no_loop() -> None:
    assert share(np.zeros((4, 10), int)) == 0
    assert share(np.zeros((4, 0), int)) == 0


@pytest.mark.parametrize(("num_changed", "num_repeated"), [(3, 13), (4, 0)])
def test_thirteen_of_sixteen_equal_codes_are_a_repetition(
    num_changed: int, num_repeated: int
) -> None:
    sequence = np.concatenate([np.arange(40), np.arange(16)])[None]
    sequence[0, 42 : 42 + 4 * num_changed : 4] += 1000
    assert share(sequence) == pytest.approx(num_repeated / 56)


def test_the_second_round_repeats_the_first_one() -> None:
    twice, first = np.tile(codes(40), 2), np.arange(80) < 40
    assert looped_share(twice, first) == 0
    assert looped_share(twice, ~first) == 0.5
