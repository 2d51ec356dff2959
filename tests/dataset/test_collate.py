import numpy as np
import torch
from torch import Tensor

from fishdvc.dataset.collate import batch_of, collate_sequences
from fishdvc.dataset.examples import LabelCounts

LONG = (
    np.array([[7, 8, 9], [0, 1, 2], [0, 3, 0]]),
    np.array([[-100, 9, 5], [-100, 2, 0], [-100, 0, 0]]),
)
SHORT = (np.array([[6], [0], [0]]), np.array([[4], [-100], [-100]]))


def expect(got: Tensor, expected: list[object]) -> None:
    torch.testing.assert_close(got, torch.tensor(expected))


def test_collating_two_handmade_sequences() -> None:
    batch = collate_sequences([SHORT, LONG], padding_id=99)
    expect(batch.inputs[0], [[6, 99, 99], [0, 0, 0], [0, 0, 0]])
    expect(batch.inputs[1], LONG[0].tolist())
    expect(batch.positions, [0, 3, 4, 5])
    expect(batch.token_positions, [0, 4, 5])
    expect(batch.token_labels, [4, 9, 5])
    # The labels at position 4 belong to the frame (2, 0) at position 5. Nothing follows position 5.
    expect(batch.frame_positions, [4])
    expect(batch.frames, [[[2, 0], [2, 0]]])
    assert batch.num_codes_without_frame == 2
    assert batch.counts == batch.divisors == LabelCounts(tokens=3, codes=4, ranked_codes=1)


def test_positions_end_at_the_last_label_of_a_sequence() -> None:
    labels = np.full((1, 3, 4), -100)
    labels[0, 0, 1] = labels[0, 1, 2] = 5
    batch = batch_of(np.ones((1, 3, 4), dtype=np.int64), labels)
    expect(batch.positions, [0, 1, 2])
    expect(batch.frames, [[[1, 1], [5, -100]]])


def test_a_position_with_a_code_of_the_last_codebook_only_is_no_frame() -> None:
    labels = np.array([[[-100, -100], [0, -100], [3, -100]]])
    batch = batch_of(np.array([[[7, 8], [0, 0], [0, 3]]]), labels)
    assert len(batch.frame_positions) == 0
    assert batch.num_codes_without_frame == 2


def test_divisors_may_be_given() -> None:
    divisors = LabelCounts(1, 2.5, 3)
    assert collate_sequences([SHORT], padding_id=0, divisors=divisors).divisors == divisors
