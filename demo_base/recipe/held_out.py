"""Held-out speech with its text: recordings of Allison Smith, and sentences spoken by flite."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo_base.recipe.metrics import Audio
from demo_base.recipe.stages.synthesize import decode_command, flite_command, normalized_audio
from demo_base.recipe.voices import ALLISON
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ

TARGET_LOUDNESS_LUFS = -23.0


@dataclass(frozen=True)
class SpokenText:
    """A text and its speech, at 16 kHz."""

    text: str
    audio: Audio


def real_clips(data: Path, *, size: int, min_s: float, max_s: float) -> list[SpokenText]:
    """Read recordings of Allison Smith whose texts are not in the demo's data.

    Args:
        data: Folder of the demo's clips of her, with transcripts.
        size: Number of clips, drawn with a fixed seed; fewer if there are fewer.
        min_s: Shortest clip, in seconds.
        max_s: Longest clip, in seconds.
    """
    known = {path.read_text(encoding="utf-8").strip() for path in data.glob("*.lab")}
    entries = [(name, text) for name, text in ALLISON.texts() if text not in known]
    random.Random(0).shuffle(entries)
    recordings = ALLISON.recordings()
    clips: list[SpokenText] = []
    for name, text in entries:
        if len(clips) == size or name not in recordings:
            continue
        clips += [
            clip
            for clip in _spoken(decode_command(recordings[name]), text)
            if min_s <= len(clip.audio) / SAMPLE_RATE_HZ <= max_s
        ]
    return clips


def recorded_clip(path: Path) -> SpokenText:
    """Read a clip with its transcript beside it."""
    text = path.with_suffix(".lab").read_text(encoding="utf-8").strip()
    (clip,) = _spoken(decode_command(path), text)
    return clip


def synthetic_clips(texts: list[str], voice: str) -> list[SpokenText]:
    """Speak texts with a voice of flite."""
    return [clip for text in texts for clip in _spoken(flite_command(voice, text), text)]


def _spoken(command: list[str], text: str) -> list[SpokenText]:
    """Return one clip, or none if it is silent."""
    audio = normalized_audio(command, target_loudness_lufs=TARGET_LOUDNESS_LUFS)
    return [] if audio is None else [SpokenText(text, audio.samples.astype(np.float32))]
