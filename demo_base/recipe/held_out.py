"""Held-out speech with its text: recordings of Allison Smith, and the held-out voices."""

import random
from dataclasses import dataclass
from pathlib import Path

from demo_base.recipe.metrics import Audio
from demo_base.recipe.stages.synthesize import decoded, normalized
from demo_base.recipe.voices import ALLISON
from fishdvc.audio.waveform import Waveform, read_waveform
from fishdvc.errors import AudioError


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
        recorded = decoded(recordings[name])
        if not min_s <= recorded.duration_s <= max_s:
            continue
        try:
            clips.append(_at_one_loudness(recorded, text))
        except AudioError:  # Silence.
            continue
    return clips


def recorded_clip(path: Path) -> SpokenText:
    """Read a clip with its transcript beside it."""
    text = path.with_suffix(".lab").read_text(encoding="utf-8").strip()
    return _at_one_loudness(read_waveform(path), text)


def spoken_clips(folder: Path) -> list[SpokenText]:
    """Read all clips of a voice with their texts."""
    return [recorded_clip(path) for path in sorted(folder.glob("*.flac"))]


def _at_one_loudness(audio: Waveform, text: str) -> SpokenText:
    return SpokenText(text, normalized(audio).samples)
