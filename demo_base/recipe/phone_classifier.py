"""A classifier of the phones of recordings, on the features of Whisper's encoder."""

import numpy as np
import torch
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from torch import Tensor, nn

from demo_base.recipe.losses import soft_cross_entropy
from demo_base.recipe.phones import PHONES, Labels, means_between

WHISPER_FRAME_S = 0.02
CONTEXT_FRAMES = 4
"""Frames before and after a frame whose features the classifier also reads.

The frames of the classifier are half as long as those of the codes.
"""
MIN_KNOWN_SHARE = 0.5
HIDDEN_DIM = 384
BATCH_FRAMES = 1024
LEARNING_RATE = 1e-3
REPORT_EVERY_STEPS = 200


def whisper_features(
    whisper: WhisperModel, samples: NDArray[np.float32], num_frames: int, *, frame_length_s: float
) -> Labels:
    """Average the features of Whisper's encoder over frames: ``(num_frames, channels)``.

    Args:
        whisper: The model.
        samples: At most 30 s of speech at 16 kHz, ``(samples,)``.
        num_frames: Number of frames.
        frame_length_s: Their length.
    """
    encoded = np.array(whisper.encode(whisper.feature_extractor(samples)))[0]
    edges = np.arange(num_frames + 1, dtype=float) * (frame_length_s / WHISPER_FRAME_S)
    return means_between(encoded, edges)


class PhoneClassifier(nn.Module):
    """Computes the logits of the phones of frames from the features of a few frames."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: Tensor) -> None:
        """Standardize as the features ``(frames, channels)`` of the training need it."""
        super().__init__()
        self.register_buffer("mean", features.mean(dim=0))
        self.register_buffer("std", features.std(dim=0) + 1e-3)
        self.layers = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear((2 * CONTEXT_FRAMES + 1) * features.shape[1], HIDDEN_DIM),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(HIDDEN_DIM, len(PHONES)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Compute ``(frames, len(PHONES))`` from ``(frames, 2 * CONTEXT_FRAMES + 1, channels)``."""
        logits: Tensor = self.layers(((features - self.mean) / self.std).flatten(1))
        return logits

    @torch.inference_mode()
    def labels(self, features: Labels) -> Labels:
        """Compute the probabilities of the phones of a clip from its features."""
        self.eval()
        probabilities: Labels = self(in_context([features])[0]).softmax(dim=1).numpy()
        return probabilities


def in_context(clips: list[Labels]) -> tuple[Tensor, ...]:
    """Give each frame of each clip its neighbours: ``(frames, 2 * CONTEXT_FRAMES + 1, channels)``.

    Nothing is copied but ``CONTEXT_FRAMES`` frames per clip and end.
    """
    width = 2 * CONTEXT_FRAMES + 1
    padding = ((CONTEXT_FRAMES, CONTEXT_FRAMES), (0, 0))
    return tuple(
        torch.from_numpy(np.pad(clip, padding, mode="edge")).unfold(0, width, 1).transpose(1, 2)
        for clip in clips
    )


def frames_right(found: Labels, known: Labels) -> NDArray[np.bool_]:
    """Return whether the likeliest phone is right, for the frames whose phone is mostly known.

    Args:
        found: Probabilities, ``(frames, len(PHONES))``.
        known: Shares, the same shape.
    """
    is_known = known.sum(axis=1) > MIN_KNOWN_SHARE
    right: NDArray[np.bool_] = found[is_known].argmax(axis=1) == known[is_known].argmax(axis=1)
    return right


def train_classifier(
    features: list[Labels], labels: list[Labels], *, num_steps: int, seed: int
) -> PhoneClassifier:
    """Train on clips whose phones are known.

    Args:
        features: For each clip, ``(frames, channels)``.
        labels: For each clip, ``(frames, len(PHONES))``.
        num_steps: Optimizer steps.
        seed: Seed of the weights and batches.
    """
    torch.manual_seed(seed)
    inputs, targets = in_context(features), torch.from_numpy(np.concatenate(labels))
    classifier = PhoneClassifier(torch.from_numpy(np.concatenate(features)))
    places = torch.tensor([(i, j) for i, clip in enumerate(features) for j in range(len(clip))])
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=0.02)
    for number in range(num_steps):
        chosen = torch.randint(len(places), (BATCH_FRAMES,))
        batch = torch.stack([inputs[i][j] for i, j in places[chosen].tolist()])
        loss = soft_cross_entropy(classifier(batch), targets[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if (number + 1) % REPORT_EVERY_STEPS == 0:
            print(f"step {number + 1}: cross entropy {float(loss.detach()):.3f}", flush=True)
    return classifier
