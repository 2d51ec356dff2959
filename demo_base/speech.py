"""Clips in memory and random crops of them.

Knows files and samples, not what is trained on them.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishdvc.audio.waveform import read_waveform

HUMAN_VOICES = ("june-fr", "carlo-it")
HELD_OUT_SHARE = 0.02
GAIN_DB = 6.0


class CropSampler:
    """Draws crops of equal length.

    The same seed and step give the same crops, so that a stopped run goes on as if it had not been.
    """

    def __init__(self, speech: Path, *, num_samples: int, human_share: float, seed: int) -> None:
        """Read all clips, as 16-bit samples.

        Args:
            speech: Folder of ``<voice>/<clip>.flac``.
            num_samples: Length of a crop.
            human_share: Share of the crops that are of human voices.
            seed: Of the draws.
        """
        self.num_samples, self.human_share, self.seed = num_samples, human_share, seed
        synthetic: list[NDArray[np.int16]] = []
        human: list[NDArray[np.int16]] = []
        for folder in sorted(speech.iterdir()):
            for path in train_clips(folder):
                samples = read_waveform(path).samples
                if len(samples) >= num_samples:
                    clip = np.round(samples * 32767).astype(np.int16)
                    (human if folder.name in HUMAN_VOICES else synthetic).append(clip)
        self.groups = (synthetic, human)
        # A second is as likely as any other second of its group.
        self.ends = tuple(np.cumsum([len(clip) for clip in group]) for group in self.groups)

    def batch(self, step: int, size: int) -> Tensor:
        """Draw the crops of a step, each at a random gain: ``(size, num_samples)``."""
        rng = np.random.default_rng((self.seed, step))
        crops = np.stack([self._crop(rng) for _ in range(size)])
        gains = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB, (size, 1)) / 20)
        return torch.from_numpy((crops * (gains / 32767)).astype(np.float32)).clamp(-1, 1)

    def _crop(self, rng: np.random.Generator) -> NDArray[np.int16]:
        group = int(rng.random() < self.human_share)
        clip = self.groups[group][
            np.searchsorted(self.ends[group], rng.integers(self.ends[group][-1]), side="right")
        ]
        start = rng.integers(len(clip) - self.num_samples + 1)
        crop: NDArray[np.int16] = clip[start : start + self.num_samples]
        return crop


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
