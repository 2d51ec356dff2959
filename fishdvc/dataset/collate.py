"""Pad sequences of different lengths into one batch, and find the positions that the loss uses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishdvc.dataset.examples import IGNORED_LABEL, LabelCounts


class Batch(NamedTuple):
    """Sequences, padded on the right, and the positions of their labels.

    Everything whose shape depends on values is computed here, on the CPU. On a GPU, each such
    operation would wait for all queued kernels. Positions are indices into the flattened batch of
    ``batch * tokens`` positions.
    """

    inputs: Tensor
    """int64 ``(batch, 1 + num_codebooks, tokens)``. Padding is the id of ``<|end_of_text|>`` in row
    0 and 0 in the other rows."""
    positions: Tensor
    """Positions up to the last label of each sequence, ``(used tokens,)``. Later positions do not
    affect the loss."""
    token_positions: Tensor
    """Positions that have a token label, ``(token labels,)``."""
    token_labels: Tensor
    """Their labels, ``(token labels,)``."""
    frame_positions: Tensor
    """Positions that have code labels and are followed by a frame, ``(frames,)``."""
    frames: Tensor
    """The frame that follows each of them and its labels, ``(frames, 2, num_codebooks)``; ignored
    labels are -100."""
    num_codes_without_frame: int
    """Number of code labels at positions that no frame follows."""
    counts: LabelCounts
    """Numbers of labels in this batch."""
    divisors: LabelCounts
    """What the sums over labels are divided by. For training, the mean of ``counts`` over all
    batches of the optimizer step, so that each label has the same weight."""


def collate_sequences(
    sequences: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    *,
    padding_id: int,
    divisors: LabelCounts | None = None,
) -> Batch:
    """Pad sequences to the length of the longest.

    Args:
        sequences: Tokens and labels of each, both ``(1 + num_codebooks, tokens)``; at least one.
        padding_id: Id of ``<|end_of_text|>``.
        divisors: As in ``Batch``. None: the numbers of labels in this batch.
    """
    return batch_of(*pad_sequences(sequences, padding_id=padding_id), divisors=divisors)


def pad_sequences(
    sequences: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], *, padding_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pad sequences to the length of the longest.

    Returns:
        Inputs and labels, each int64 ``(batch, 1 + num_codebooks, tokens)``.
    """
    num_rows = len(sequences[0][0])
    max_length = max(tokens.shape[1] for tokens, _ in sequences)
    # Filled in numpy: torch starts its threads for every small copy, and on a busy machine waiting
    # for them took 80 ms for a batch that takes 1 ms.
    inputs = np.zeros((len(sequences), num_rows, max_length), dtype=np.int64)
    inputs[:, 0] = padding_id
    labels = np.full_like(inputs, IGNORED_LABEL)
    for row, (tokens, sequence_labels) in enumerate(sequences):
        length = tokens.shape[1]
        inputs[row, :, :length] = tokens
        labels[row, :, :length] = sequence_labels
    return inputs, labels


def batch_of(
    inputs: NDArray[np.int64], labels: NDArray[np.int64], *, divisors: LabelCounts | None = None
) -> Batch:
    """Find the labels of padded sequences.

    0 is a code and also marks the absence of codes. As in the reference implementation, a position
    is followed by a frame if the codes of the next position, all but the last codebook's, are not
    all 0.

    Args:
        inputs: ``(batch, 1 + num_codebooks, tokens)``.
        labels: Shape of ``inputs``, one position ahead; ignored labels are -100.
        divisors: As in ``Batch``. None: the numbers of labels in this batch.
    """
    counted = labels != IGNORED_LABEL
    num_code_labels = counted[:, 1:].sum(axis=1)
    next_codes = np.zeros_like(inputs[:, 1:])
    next_codes[:, :, :-1] = inputs[:, 1:, 1:]
    is_frame = next_codes[:, :-1].any(axis=1)
    has_label_ahead = np.logical_or.accumulate(counted.any(axis=1)[:, ::-1], axis=1)[:, ::-1]
    rows, columns = np.nonzero(is_frame & (num_code_labels > 0))
    frames = np.stack((next_codes[rows, :, columns], labels[rows, 1:, columns]), axis=1)
    counts = LabelCounts(
        tokens=int(counted[:, 0].sum()),
        codes=int(num_code_labels.sum()),
        ranked_codes=int((labels[:, 1:] > 0).sum()),
    )
    return Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(np.flatnonzero(has_label_ahead)),
        torch.from_numpy(np.flatnonzero(counted[:, 0])),
        torch.from_numpy(labels[:, 0][counted[:, 0]]),
        torch.from_numpy(rows * inputs.shape[2] + columns),
        torch.from_numpy(frames),
        int(num_code_labels[~is_frame].sum()),
        counts,
        counts if divisors is None else divisors,
    )
