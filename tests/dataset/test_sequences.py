import itertools

import numpy as np
import pytest

from fishdvc.dataset.sequences import (
    draw_texts,
    pack_sentences,
    plan_batches,
    plan_ordered_batches,
)


def random_corpus(seed: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 200))
    return rng.integers(1, 130, size).tolist(), rng.integers(0, 5, size).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_every_sentence_is_in_one_sequence_of_its_speaker(seed: int) -> None:
    num_tokens, speakers = random_corpus(seed)
    sequences = pack_sentences(num_tokens, speakers, max_length=130, seed=seed, epoch=seed % 3)
    packed = [index for sequence in sequences for index in sequence]
    assert sorted(packed) == list(range(len(num_tokens)))
    for sequence in sequences:
        assert 0 < sum(num_tokens[index] for index in sequence) <= 130
        assert len({speakers[index] for index in sequence}) == 1


def test_a_sequence_ends_only_if_the_next_sentence_does_not_fit() -> None:
    num_tokens, speakers = random_corpus(3)
    speakers = [0] * len(speakers)
    sequences = pack_sentences(num_tokens, speakers, max_length=130, seed=0, epoch=0)
    for sequence, following in itertools.pairwise(sequences):
        assert sum(num_tokens[i] for i in sequence) + num_tokens[following[0]] > 130


def test_draws_depend_on_seed_and_epoch() -> None:
    num_tokens, speakers = [10] * 50, [0] * 50

    def pack(seed: int, epoch: int) -> object:
        return pack_sentences(num_tokens, speakers, max_length=100, seed=seed, epoch=epoch)

    def plan(seed: int, epoch: int) -> object:
        return plan_batches(range(1, 50), batch_size=4, num_ranks=2, seed=seed, epoch=epoch)

    def draw(seed: int, epoch: int) -> object:
        return draw_texts([3] * 50, seed=seed, epoch=epoch)

    for made in (pack, plan, draw):
        assert made(1, 2) == made(1, 2)
        assert made(1, 2) != made(1, 3)
        assert made(1, 2) != made(2, 2)
        assert made(1, 2) != made(2, 1)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("num_sequences", [1, 2, 8, 33])
def test_sequences_are_distributed_evenly_over_ranks(
    num_sequences: int, batch_size: int, num_ranks: int
) -> None:
    num_tokens = np.random.default_rng(0).integers(1, 100, num_sequences).tolist()
    plan = plan_batches(num_tokens, batch_size=batch_size, num_ranks=num_ranks, seed=0, epoch=0)
    assert len(plan) == num_ranks
    assert len({len(batches) for batches in plan}) == 1
    batches = [batch for rank in plan for batch in rank]
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sorted(index for batch in batches for index in batch) == list(range(num_sequences))
    assert sizes.count(0) < num_ranks
    # Every step has a batch that is not empty.
    assert all(any(rank[step] for rank in plan) for step in range(len(plan[0])))


def test_batches_hold_sequences_of_similar_length() -> None:
    num_tokens = [1, 100, 2, 101, 3, 102, 4, 103]
    plan = plan_batches(num_tokens, batch_size=2, num_ranks=2, seed=5, epoch=0)
    steps = [{num_tokens[i] // 100 for rank in plan for i in rank[step]} for step in range(2)]
    assert sorted(map(sorted, steps)) == [[0], [1]]


def test_ordered_batches_are_sorted_by_length() -> None:
    plan = plan_ordered_batches([5, 9, 1, 7], batch_size=2, num_ranks=1)
    assert plan == [[[2, 0], [3, 1]]]


def test_every_text_is_drawn_sometime() -> None:
    num_texts = [1, 2, 3] * 20
    drawn = np.array([draw_texts(num_texts, seed=0, epoch=epoch) for epoch in range(30)])
    for place, count in enumerate(num_texts):
        assert set(drawn[:, place]) == set(range(count))
