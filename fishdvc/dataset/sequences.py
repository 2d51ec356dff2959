"""Which sentences form a training sequence, and which sequences a batch, in a given epoch.

Pure functions of whole numbers: the same lengths, seed and epoch give the same plan on every rank
and after every restart. Knows nothing of texts, codes or tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Each kind of draw has a stream of random numbers of its own.
_PACKING, _BATCHES, _TEXTS = range(3)


@dataclass(frozen=True)
class SequencePlan:
    """How sentences fill sequences.

    Attributes:
        sequences: The sentences of each sequence, in their order.
        too_long: Sentences that no sequence can hold; they are in none.
    """

    sequences: tuple[tuple[int, ...], ...]
    too_long: tuple[int, ...]


def pack_sentences(
    num_tokens: Sequence[int], speakers: Sequence[int], *, max_length: int, seed: int, epoch: int
) -> SequencePlan:
    """Fill sequences with whole sentences of one speaker.

    A speaker's sentences are shuffled and put into a sequence one after another; the one that no
    longer fits opens the next. So an epoch holds each sentence once and none is cut, unlike in the
    reference implementation. The model learns from neighbours in a sequence how to follow a
    reference clip; the shuffle lets each sentence have many neighbours.

    Args:
        num_tokens: Length of each sentence.
        speakers: Speaker of each sentence, any numbers.
        max_length: Most tokens of a sequence.
        seed: Non-negative.
        epoch: Non-negative.
    """
    rng = np.random.default_rng((seed, epoch, _PACKING))
    by_speaker: dict[int, list[int]] = {}
    too_long = []
    for index, (length, speaker) in enumerate(zip(num_tokens, speakers, strict=True)):
        if length > max_length:
            too_long.append(index)
        else:
            by_speaker.setdefault(speaker, []).append(index)

    sequences = []
    for indices in by_speaker.values():
        sequence: list[int] = []
        free = max_length
        for index in rng.permutation(indices).tolist():
            if num_tokens[index] > free:
                sequences.append(tuple(sequence))
                sequence, free = [], max_length
            sequence.append(index)
            free -= num_tokens[index]
        sequences.append(tuple(sequence))
    return SequencePlan(sequences=tuple(sequences), too_long=tuple(too_long))


def plan_batches(
    num_tokens: Sequence[int], *, batch_size: int, num_ranks: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """Share sequences out to the ranks and steps of an epoch.

    Sequences of similar length share a batch, and the batches of one step are similar too, so that
    little is padding and no rank waits long; steps come in random order. Every rank has as many
    batches as the others, their sizes differ by one at most, and none is empty. Where sequences are
    too few for that, fewer than ``num_ranks`` of them are used twice (or more often, where there
    are fewer sequences than ranks); every sequence is used.

    Args:
        num_tokens: Length of each sequence.
        batch_size: Most sequences of a batch, on each rank.
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
    """As ``plan_batches``, but nothing is random: batches go from short to long.

    Args:
        num_tokens: Length of each sequence.
        order: In which order sequences of one length follow each other; None: as they are.
        batch_size: Most sequences of a batch, on each rank.
        num_ranks: Number of processes.
    """
    sequences = np.arange(len(num_tokens)) if order is None else np.asarray(order)
    num_steps = math.ceil(len(sequences) / (batch_size * num_ranks))
    num_batches = num_steps * num_ranks
    if 0 < len(sequences) < num_batches:
        sequences = np.resize(sequences, num_batches)
    lengths = np.asarray(num_tokens, dtype=np.int64)[sequences]
    sequences = sequences[np.argsort(lengths, kind="stable")]
    # With no sequence there is no batch, but array_split wants at least one part.
    parts = np.array_split(sequences, num_batches) if num_batches else []
    batches = [part.tolist() for part in parts]
    return [batches[rank::num_ranks] for rank in range(num_ranks)]


def draw_texts(num_texts: Sequence[int], *, seed: int, epoch: int) -> list[int]:
    """Draw for each sentence which of its alternative texts to use in an epoch.

    Args:
        num_texts: Number of texts of each sentence, at least 1.
        seed: Non-negative.
        epoch: Non-negative.
    """
    drawn: list[int] = np.random.default_rng((seed, epoch, _TEXTS)).integers(num_texts).tolist()
    return drawn
