"""Random crops of speech, for the training of the codec and its head."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from demo_base.recipe.training_loop import TrainingParams
from demo_base.recipe.voices import GroupShares, voice_shares
from fishdvc.audio.waveform import read_waveform

GAIN_DB = 6.0
SPEED_SHARE = 0.5
"""Share of the crops that are played slower or faster, which makes lower and higher voices."""
MAX_SPEED = 1.2


class CropTrainingParams(TrainingParams):
    """Parameters of a training on crops of speech."""

    batch_size: int = Field(description="Crops per step.", ge=1)
    crop_frames: int = Field(description="Frames of codes per crop.", ge=1)
    group_shares: GroupShares = Field(description="Shares of the groups of voices in the crops.")


class CropSampler:
    """Draws crops of equal length. The same seed and step give the same crops."""

    def __init__(
        self, speech: Path, params: CropTrainingParams, *, frame_length_samples: int
    ) -> None:
        """Read all clips into memory, as 16-bit samples.

        Args:
            speech: Folder of ``<voice>/<clip>.flac``.
            params: Length and number of the crops, and the shares of the voices.
            frame_length_samples: Samples per frame of codes.
        """
        self.params = params
        self.num_samples = params.crop_frames * frame_length_samples
        read = {folder.name: self._read(folder) for folder in sorted(speech.iterdir())}
        voices = {name: clips for name, clips in read.items() if clips}
        self.voices = list(voices.values())
        self.clip_ends = [np.cumsum([len(clip) for clip in voice]) for voice in self.voices]
        sizes = {name: float(ends[-1]) for name, ends in zip(voices, self.clip_ends, strict=True)}
        self.shares = voice_shares(sizes, params.group_shares)

    def batch(self, step: int, size: int | None = None) -> Tensor:
        """Draw the crops of a step, each at a random gain: ``(batch_size, num_samples)``."""
        rng = np.random.default_rng((self.params.seed, step))
        size = size or self.params.batch_size
        crops = np.stack([self._crop(rng) for _ in range(size)])
        gains = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB, (size, 1)) / 20)
        return torch.from_numpy((crops * (gains / 32767)).astype(np.float32)).clamp(-1, 1)

    def _read(self, folder: Path) -> list[NDArray[np.int16]]:
        clips = (read_waveform(path).samples for path in sorted(folder.glob("*.flac")))
        long_enough = (clip for clip in clips if len(clip) >= self.num_samples)
        return [np.round(clip * 32767).astype(np.int16) for clip in long_enough]

    def _crop(self, rng: np.random.Generator) -> NDArray[np.float64]:
        voice = rng.choice(len(self.voices), p=self.shares)
        # Every second of a voice is equally likely.
        ends = self.clip_ends[voice]
        clip = self.voices[voice][np.searchsorted(ends, rng.integers(ends[-1]), side="right")]
        speed = rng.uniform(1 / MAX_SPEED, MAX_SPEED) if rng.random() < SPEED_SHARE else 1.0
        num_read = math.ceil(self.num_samples * speed) + 1
        if num_read > len(clip):
            speed, num_read = 1.0, self.num_samples
        start = rng.integers(len(clip) - num_read + 1)
        positions = np.arange(self.num_samples) * speed
        crop: NDArray[np.float64] = np.interp(
            positions, np.arange(num_read), clip[start : start + num_read]
        )
        return crop
