"""Random crops of speech, for the training of the codec and its head."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from demo_base.recipe.equalizer import equalized
from demo_base.recipe.phones import LABELS_PER_FRAME, means_between
from demo_base.recipe.training_loop import TrainingParams
from demo_base.recipe.voices import GroupShares, voice_shares
from fishdvc.audio.waveform import read_waveform

SAMPLE_RATE_HZ = 16000
GAIN_DB = 6.0
SPEED_SHARE = 0.5
"""Share of the crops that are played slower or faster, which makes lower and higher voices."""
MAX_SPEED = 1.2
EQUALIZED_SHARE = 0.6
NOISY_SHARE = 0.15
NOISE_DB = (-45.0, -25.0)
"""Range of the level of noise, relative to the crop."""


class Clip(NamedTuple):
    """A clip in memory."""

    samples: NDArray[np.int16]
    labels: NDArray[np.float16] | None
    """``(labels, classes)``, ``LABELS_PER_FRAME`` per frame: shares of the phones."""


class Crops(NamedTuple):
    """Crops of one step."""

    audio: Tensor
    """``(batch_size, num_samples)`` from -1 to 1."""
    labels: Tensor | None
    """``(batch_size, crop_frames * LABELS_PER_FRAME, classes)``, shares of the phones."""


class CropTrainingParams(TrainingParams):
    """Parameters of a training on crops of speech."""

    batch_size: int = Field(description="Crops per step and process.", ge=1)
    crop_frames: int = Field(description="Frames of codes per crop.", ge=1)
    group_shares: GroupShares = Field(description="Shares of the groups of voices in the crops.")


class CropSampler:
    """Draws crops of equal length. The same seed and step give the same crops.

    Some crops are filtered at random, and some get noise, so that the codec also carries voices
    that were recorded otherwise.
    """

    def __init__(
        self,
        speech: Path,
        params: CropTrainingParams,
        *,
        frame_length_samples: int,
        phone_labels: Path | None = None,
    ) -> None:
        """Read all clips into memory, as 16-bit samples.

        Args:
            speech: Folder of ``<voice>/<clip>.flac``.
            params: Length and number of the crops, and the shares of the voices.
            frame_length_samples: Samples per frame of codes.
            phone_labels: Folder of ``<voice>/<clip>.npy`` for labels of the crops.
        """
        self.params = params
        self.frame_length_samples = frame_length_samples
        self.num_samples = params.crop_frames * frame_length_samples
        self.phone_labels = phone_labels
        read = {folder.name: self._read(folder) for folder in sorted(speech.iterdir())}
        voices = {name: clips for name, clips in read.items() if clips}
        self.voices = list(voices.values())
        self.clip_ends = [np.cumsum([len(clip.samples) for clip in voice]) for voice in self.voices]
        sizes = {name: float(ends[-1]) for name, ends in zip(voices, self.clip_ends, strict=True)}
        self.shares = voice_shares(sizes, params.group_shares)

    def batch(self, step: int, size: int | None = None) -> Crops:
        """Draw the crops of a step, each at a random gain."""
        rng = np.random.default_rng((self.params.seed, step))
        crops = [self._crop(rng) for _ in range(size or self.params.batch_size)]
        audio = torch.from_numpy(np.stack([samples for samples, _ in crops]))
        labels = [labels for _, labels in crops if labels is not None]
        return Crops(audio, torch.from_numpy(np.stack(labels)) if labels else None)

    def _read(self, folder: Path) -> list[Clip]:
        clips = []
        for path in sorted(folder.glob("*.flac")):
            samples = read_waveform(path).samples
            if len(samples) < self.num_samples:
                continue
            labels = None
            if self.phone_labels:
                labels = np.load(self.phone_labels / folder.name / f"{path.stem}.npy")
            clips.append(Clip(np.round(samples * 32767).astype(np.int16), labels))
        return clips

    def _crop(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        voice = rng.choice(len(self.voices), p=self.shares)
        # Every second of a voice is equally likely.
        ends = self.clip_ends[voice]
        clip = self.voices[voice][np.searchsorted(ends, rng.integers(ends[-1]), side="right")]
        speed = rng.uniform(1 / MAX_SPEED, MAX_SPEED) if rng.random() < SPEED_SHARE else 1.0
        num_read = math.ceil(self.num_samples * speed) + 1
        if num_read > len(clip.samples):
            speed, num_read = 1.0, self.num_samples
        start = rng.integers(len(clip.samples) - num_read + 1)
        read = clip.samples[start : start + num_read] / np.float32(32767)
        positions = np.arange(self.num_samples) * speed
        audio = self._recorded(np.interp(positions, np.arange(num_read), read), rng)
        if clip.labels is None:
            return audio, None
        first = start / self.frame_length_samples * LABELS_PER_FRAME
        edges = first + np.arange(self.params.crop_frames * LABELS_PER_FRAME + 1) * speed
        return audio, means_between(clip.labels.astype(np.float32), edges)

    def _recorded(
        self, samples: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Vary the frequency response, the noise and the level."""
        audio = samples.astype(np.float32)
        if rng.random() < EQUALIZED_SHARE:
            audio = equalized(audio, SAMPLE_RATE_HZ, rng)
        if rng.random() < NOISY_SHARE:
            level = np.sqrt(np.mean(audio**2)) * 10 ** (rng.uniform(*NOISE_DB) / 20)
            audio = audio + level * rng.standard_normal(len(audio), dtype=np.float32)
        gain = 10 ** (rng.uniform(-GAIN_DB, GAIN_DB) / 20)
        clipped: NDArray[np.float32] = np.clip(audio * gain, -1, 1).astype(np.float32)
        return clipped
