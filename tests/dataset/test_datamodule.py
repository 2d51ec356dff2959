from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fishdvc.dataset.collate import Batch
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.dataset.examples import tokenize_sentence
from fishdvc.dataset.sentence_set import SentenceSet
from fishdvc.text.tokenizer import load_tokenizer

NUM_SENTENCES = 24


@pytest.fixture(scope="module")
def sentences(assets: Path) -> SentenceSet:
    """Two speakers of 12 sentences; sentence n has 5 + n frames, and all its codes are n."""
    tokenizer = load_tokenizer(assets / "text2semantic")
    numbers = range(NUM_SENTENCES)
    tokenized = tuple(
        tokenize_sentence(tokenizer, (f"text {n}",), np.full((8, 5 + n), n)) for n in numbers
    )
    return SentenceSet(tokenized, tuple(n // 12 for n in numbers), ())


def data_of(sentences: SentenceSet, **changes: Any) -> SentenceDataModule:
    settings = {"batch_size": 2, "max_length": 200, "seed": 1, "padding_id": 1025} | changes
    data = SentenceDataModule(sentences, sentences, **settings)
    data.trainer = on_rank(0, 1)
    return data


def on_rank(rank: int, num_ranks: int, epoch: int = 0) -> Any:
    return SimpleNamespace(global_rank=rank, world_size=num_ranks, current_epoch=epoch)


def sentences_in(batch: Batch) -> list[list[int]]:
    """Numbers of the sentences in each sequence, by the codes after each ``<|voice|>``."""
    return [(row[1][1:][row[0][:-1] == 1034]).tolist() for row in batch.inputs]


def test_an_epoch_holds_every_sentence_once_and_whole(sentences: SentenceSet) -> None:
    data = data_of(sentences)
    batches = list(data.train_dataloader())
    assert len(batches) == data.num_train_batches(0, 1)
    seen = [sentences_in(batch) for batch in batches]
    flat = [n for batch in seen for sequence in batch for n in sequence]
    assert sorted(flat) == list(range(NUM_SENTENCES))
    assert all(len({n < 12 for n in sequence}) == 1 for batch in seen for sequence in batch)
    num_tokens = sum(sentence.num_tokens for sentence in sentences.sentences)
    assert sum(len(batch.positions) for batch in batches) == num_tokens
    assert max(batch.inputs.shape[2] for batch in batches) <= 200


def test_epochs_differ_and_ranks_share_an_epoch(sentences: SentenceSet) -> None:
    data = data_of(sentences)

    def seen(rank: int, num_ranks: int, epoch: int) -> list[list[list[int]]]:
        data.trainer = on_rank(rank, num_ranks, epoch)
        return [sentences_in(batch) for batch in data.train_dataloader()]

    assert seen(0, 1, 0) == seen(0, 1, 0) != seen(0, 1, 1)
    both = [seen(rank, 2, 3) for rank in range(2)]
    assert len(both[0]) == len(both[1]) == data.num_train_batches(3, 2)
    flat = [n for rank in both for batch in rank for sequence in batch for n in sequence]
    assert sorted(flat) == list(range(NUM_SENTENCES))


def test_sentences_seen_are_counted_over_all_ranks(sentences: SentenceSet) -> None:
    data = data_of(sentences)
    first = set()
    for rank in range(2):
        data.trainer = on_rank(rank, 2)
        first |= {n for s in sentences_in(next(iter(data.train_dataloader()))) for n in s}
    assert data.num_sentences_seen(1, 2) == len(first) < NUM_SENTENCES
    assert data.num_sentences_seen(100, 2) == NUM_SENTENCES


@pytest.mark.parametrize("batch_size", [1, 2])
def test_divisors_are_the_mean_numbers_of_labels_of_a_step(
    sentences: SentenceSet, batch_size: int
) -> None:
    data = data_of(sentences, accumulate_grad_batches=2, batch_size=batch_size, max_length=60)
    ranks = []
    for rank in range(3):
        data.trainer = on_rank(rank, 3)
        ranks.append(list(data.train_dataloader()))
    for first in range(0, len(ranks[0]), 2):
        step = [batch for batches in ranks for batch in batches[first : first + 2]]
        mean = np.mean([batch.counts for batch in step], axis=0)
        for batch in step:
            assert batch.divisors == pytest.approx(tuple(mean))


@pytest.mark.parametrize(("num_clips", "num_ranks"), [(10, 4), (5, 2), (5, 3), (1, 8)])
def test_validation_uses_every_clip_once_on_any_number_of_ranks(
    sentences: SentenceSet, num_clips: int, num_ranks: int
) -> None:
    val = SentenceSet(sentences.sentences[:num_clips], sentences.speakers[:num_clips], ())
    data = SentenceDataModule(sentences, val, batch_size=1, max_length=200, seed=1, padding_id=1025)
    loaders = []
    for rank in range(num_ranks):
        data.trainer = on_rank(rank, num_ranks)
        loaders.append(list(data.val_dataloader()))
    assert len({len(batches) for batches in loaders}) == 1
    labels = [label for batches in loaders for b in batches for label in b.token_labels.tolist()]
    data.trainer = on_rank(0, 1)
    alone = [label for b in data.val_dataloader() for label in b.token_labels.tolist()]
    assert sorted(labels) == sorted(alone)


def test_validation_sentences_are_single_and_sorted_by_length(sentences: SentenceSet) -> None:
    data = data_of(sentences)
    seen = [n for batch in data.val_dataloader() for n in sentences_in(batch)]
    assert seen == [[n] for n in range(NUM_SENTENCES)]
    data.trainer = on_rank(1, 2, epoch=7)
    assert sentences_in(next(iter(data.val_dataloader()))) == [[2], [3]]


def test_a_run_may_be_resumed_after_every_batch(sentences: SentenceSet) -> None:
    data = data_of(sentences)
    state, seen = data.train_dataloader().state_dict(), []
    for _ in range(data.num_train_batches(0, 1)):
        loader = data.train_dataloader()
        loader.load_state_dict(state)
        seen.append(sentences_in(next(iter(loader))))
        state = loader.state_dict()
    assert seen == [sentences_in(batch) for batch in data.train_dataloader()]
    loader.load_state_dict(state | {"epoch": 1})
    assert len(list(loader)) == len(seen)
