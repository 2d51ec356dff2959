import pytest
import torch

from fishdvc.codec.batches import padded_length, plan_batches

LENGTHS = [300, 5, 0, 16, 17, 7, 2000, 1, 12, 301]


def test_on_a_cpu_each_clip_is_a_batch_without_padding_and_the_longest_is_first() -> None:
    batches = plan_batches(LENGTHS, torch.device("cpu"), max_frames=64)
    assert [batch.clips for batch in batches] == [[6], [9], [0], [4], [3], [8], [5], [1], [7]]
    assert all(batch.num_frames == LENGTHS[batch.clips[0]] for batch in batches)


def test_on_other_devices_clips_of_one_padded_length_share_batches_of_limited_size() -> None:
    batches = plan_batches(LENGTHS, torch.device("meta"), max_frames=64)
    # The clip of 2,000 frames is longer than the limit. The clip of 0 frames is left out.
    assert batches == [
        ([6], 2048),
        ([9], 320),
        ([0], 320),
        ([4], 32),
        ([3, 8, 5, 1], 16),
        ([7], 16),
    ]


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (257, 320), (320, 320), (513, 640)],
)
def test_padded_lengths_of_hand_made_values(num_frames: int, expected: int) -> None:
    assert padded_length(num_frames) == expected


def test_padding_is_at_most_a_step_or_a_quarter_and_lengths_are_few() -> None:
    lengths = [padded_length(num_frames) for num_frames in range(1, 4097)]
    assert len(set(lengths)) == 8 + 4 * 5
    for num_frames, length in enumerate(lengths, start=1):
        assert num_frames <= length < max(num_frames + 16, 1.25 * num_frames)
