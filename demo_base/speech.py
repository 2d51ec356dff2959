"""Clips in memory and random crops of them.

Knows files and samples, not what is trained on them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo_base.prompts import HUMAN_VOICES
from fishdvc.audio.waveform import read_waveform
from fishdvc.params import param

HELD_OUT_SHARE = 0.02
GAIN_DB = 6.0
SPEED_SHARE = 0.5
"""Of the crops, played slower or faster: higher and lower voices than there are recordings of."""
MAX_SPEED = 1.2


@dataclass(frozen=True, kw_only=True)
class CropTrainingParams:
    """What is chosen for every training on crops of speech."""

    seed: int = param("Of weights and crops.")
    num_steps: int = param("Steps of the optimizer.", at_least=1)
    batch_size: int = param("Crops in a step.", at_least=1)
    crop_frames: int = param("Frames of codes in a crop.", at_least=1)
    human_share: float = param("Of the crops.", at_least=0, at_most=1)
    learning_rate: float = param("Of AdamW.", above=0)


class CropSampler:
    """Draws crops of equal length.

    The same seed and step give the same crops, so that a stopped run goes on as if it had not been.
    """

    def __init__(
        self, speech: Path, params: CropTrainingParams, *, frame_length_samples: int
    ) -> None:
        """Read all clips, as 16-bit samples.

        Args:
            speech: Folder of ``<voice>/<clip>.flac``.
            params: How long and how many crops are, and of whom.
            frame_length_samples: Of a frame of codes.
        """
        num_samples = params.crop_frames * frame_length_samples
        self.params, self.num_samples = params, num_samples
        self.groups: tuple[list[list[NDArray[np.int16]]], ...] = ([], [])
        for folder in sorted(speech.iterdir()):
            clips = (read_waveform(path).samples for path in train_clips(folder))
            self.groups[folder.name in HUMAN_VOICES].append(
                [np.round(c * 32767).astype(np.int16) for c in clips if len(c) >= num_samples]
            )
        # Within a voice a second is as likely as any other; a voice of four hours is drawn twice
        # as often as one of one hour.
        self.ends = [[np.cumsum([len(c) for c in v]) for v in group] for group in self.groups]
        roots = [np.sqrt([ends[-1] for ends in group]) for group in self.ends]
        self.shares = [of_group / of_group.sum() for of_group in roots]

    def batch(self, step: int, size: int | None = None) -> Tensor:
        """Draw the crops of a step, each at a random gain: ``(batch_size, num_samples)``."""
        size = size or self.params.batch_size
        rng = np.random.default_rng((self.params.seed, step))
        crops = np.stack([self._crop(rng) for _ in range(size)])
        gains = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB, (size, 1)) / 20)
        return torch.from_numpy((crops * (gains / 32767)).astype(np.float32)).clamp(-1, 1)

    def _crop(self, rng: np.random.Generator) -> NDArray[np.float64]:
        group = int(rng.random() < self.params.human_share)
        voice = rng.choice(len(self.groups[group]), p=self.shares[group])
        ends = self.ends[group][voice]
        clip = self.groups[group][voice][
            np.searchsorted(ends, rng.integers(ends[-1]), side="right")
        ]
        speed = rng.uniform(1 / MAX_SPEED, MAX_SPEED) if rng.random() < SPEED_SHARE else 1.0
        num_read = math.ceil(self.num_samples * speed) + 1
        if speed == 1.0 or num_read > len(clip):
            start = rng.integers(len(clip) - self.num_samples + 1)
            return clip[start : start + self.num_samples].astype(np.float64)
        start = rng.integers(len(clip) - num_read + 1)
        places = np.arange(self.num_samples) * speed
        return np.interp(places, np.arange(num_read), clip[start : start + num_read])


def train_clips(folder: Path) -> list[Path]:
    """List the clips of a voice that are trained on."""
    return _split(folder)[1]


def held_out_clips(folder: Path) -> list[Path]:
    """List the clips of a voice that are not trained on."""
    return _split(folder)[0]


def _split(folder: Path) -> tuple[list[Path], list[Path]]:
    clips = sorted(folder.glob("*.flac"))
    num_held_out = max(1, int(len(clips) * HELD_OUT_SHARE))
    return clips[:num_held_out], clips[num_held_out:]
