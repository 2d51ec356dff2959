"""Plan an epoch: which sentences form a training sequence, and which sequences form a batch.

Equal lengths, seeds and epochs give equal plans on every rank and after every restart.
"""

import math
from collections.abc import Sequence

import numpy as np

# Each kind of draw has its own stream of random numbers.
_PACKING, _BATCHES, _TEXTS = range(3)


def pack_sentences(
    num_tokens: Sequence[int], speakers: Sequence[int], *, max_length: int, seed: int, epoch: int
) -> list[list[int]]:
    """Fill sequences with whole sentences of one speaker.

    The sentences of a speaker are shuffled and appended to a sequence one after another. A sentence
    that does not fit starts the next sequence. So each sentence is used once per epoch and is never
    truncated, unlike in the reference implementation. From the neighbours in a sequence the model
    learns to follow a reference clip; shuffling gives each sentence many neighbours.

    Args:
        num_tokens: Length of each sentence, at most ``max_length``.
        speakers: Speaker of each sentence.
        max_length: Maximum number of tokens of a sequence.
        seed: Seed of the order, at least 0.
        epoch: Number of the epoch, from 0.

    Returns:
        The sentences of each sequence, in order.
    """
    rng = np.random.default_rng((seed, epoch, _PACKING))
    by_speaker: dict[int, list[int]] = {}
    for index, speaker in enumerate(speakers):
        by_speaker.setdefault(speaker, []).append(index)

    sequences = []
    for indices in by_speaker.values():
        sequence: list[int] = []
        free = max_length
        for index in rng.permutation(indices).tolist():
            if num_tokens[index] > free:
                sequences.append(sequence)
                sequence, free = [], max_length
            sequence.append(index)
            free -= num_tokens[index]
        sequences.append(sequence)
    return sequences


def plan_batches(
    num_tokens: Sequence[int], *, batch_size: int, num_ranks: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """Distribute sequences over the ranks and steps of an epoch.

    The batches of one step hold sequences of similar length, so that there is little padding and
    ranks rarely wait for each other. Steps are in random order. All ranks have the same number of
    batches, and batch sizes differ by at most one. Every sequence is used once. If there are fewer
    sequences than batches, fewer than ``num_ranks`` batches are empty, all of one step.

    Args:
        num_tokens: Length of each sequence.
        batch_size: Maximum number of sequences of a batch, on each rank.
        num_ranks: Number of processes that train together.
        seed: Non-negative.
        epoch: Non-negative.

    Returns:
        ``plan[rank][step]``: the sequences of one batch.
    """
    rng = np.random.default_rng((seed, epoch, _BATCHES))
    plan = plan_ordered_batches(
        num_tokens, rng.permutation(len(num_tokens)), batch_size=batch_size, num_ranks=num_ranks
    )
    steps = rng.permutation(len(plan[0])).tolist()
    return [[batches[step] for step in steps] for batches in plan]


def plan_ordered_batches(
    num_tokens: Sequence[int],
    order: Sequence[int] | np.ndarray | None = None,
    *,
    batch_size: int,
    num_ranks: int,
) -> list[list[list[int]]]:
    """Like ``plan_batches``, but without randomness: batches are sorted from short to long.

    ``order`` is that of sequences of equal length. None: as given.
    """
    sequences = np.arange(len(num_tokens)) if order is None else np.asarray(order)
    num_steps = math.ceil(len(sequences) / (batch_size * num_ranks))
    num_batches = num_steps * num_ranks
    lengths = np.asarray(num_tokens, dtype=np.int64)[sequences]
    sequences = sequences[np.argsort(lengths, kind="stable")]
    batches = [part.tolist() for part in np.array_split(sequences, num_batches)]
    return [batches[rank::num_ranks] for rank in range(num_ranks)]


def draw_texts(num_texts: Sequence[int], *, seed: int, epoch: int) -> list[int]:
    """Draw for each sentence the index of the text to use in an epoch, 0 to ``num_texts - 1``."""
    drawn: list[int] = np.random.default_rng((seed, epoch, _TEXTS)).integers(num_texts).tolist()
    return drawn
