"""Plan which clips the codec computes together, and to which length they are padded."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch

from fishdvc.codec import layers

LENGTH_STEP = 16
"""Padded lengths are multiples of this number of frames, 0.74 s in the published codec."""


class Batch(NamedTuple):
    """Clips to compute together."""

    clips: list[int]
    """Indices of the clips."""

    num_frames: int
    """Frames to which the clips are padded on the right."""


def plan_batches(
    num_frames: Sequence[int], device: torch.device, *, max_frames: int
) -> list[Batch]:
    """Plan batches that need little memory and have few shapes.

    On a CPU, each clip is a batch without padding, because larger batches are not faster there and
    padding costs time. On other devices, clips of the same ``padded_length`` form batches of up
    to ``max_frames`` frames. A longer clip is a batch of its own.

    Args:
        num_frames: Frames of each clip. Clips without frames are in no batch.
        device: The device that computes.
        max_frames: Maximum number of frames of a batch, with padding.

    Returns:
        Batches, the longest clips first, so that threads finish at about the same time.
    """
    clips = [clip for clip, frames in enumerate(num_frames) if frames > 0]
    clips.sort(key=lambda clip: num_frames[clip], reverse=True)
    if layers.on_cpu(device):
        return [Batch([clip], num_frames[clip]) for clip in clips]
    by_length = defaultdict[int, list[int]](list)
    for clip in clips:
        by_length[padded_length(num_frames[clip])].append(clip)
    return [
        Batch(same[start : start + size], length)
        for length, same in by_length.items()
        for size in [max(1, max_frames // length)]
        for start in range(0, len(same), size)
    ]


def padded_length(num_frames: int) -> int:
    """Round up to one of four lengths per octave, multiples of ``LENGTH_STEP``.

    The lengths in steps are 1, 2, ... 8, 10, 12, 14, 16, 20, ... Few lengths need few plans
    and fragment memory little, and padding adds at most a quarter to a long clip.
    """
    steps = -(-num_frames // LENGTH_STEP)
    multiple = 1 << max(0, (steps - 1).bit_length() - 3)
    return -(-steps // multiple) * multiple * LENGTH_STEP
