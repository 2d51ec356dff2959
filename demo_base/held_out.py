"""Clips of the demo's voice that no training has seen, out of Debian's packages.

A part of the packages' recordings lies in data/raw and is what the demo learns from.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from demo_base.listeners import SAMPLE_RATE_HZ, Audio
from demo_base.prompts import ALLISON
from demo_base.stages.synthesize import run_and_normalize
from fishdvc.audio.waveform import read_waveform

TARGET_LOUDNESS_LUFS = -23.0


@dataclass(frozen=True)
class SpokenText:
    """A text and somebody saying it, at 16 kHz."""

    text: str
    audio: Audio


def real_clips(data: Path, *, size: int, min_s: float, max_s: float) -> list[SpokenText]:
    """Read clips of Allison Smith whose texts are not in the demo's data.

    Args:
        data: Folder of the demo's clips of her, with transcripts.
        size: How many, drawn with a fixed seed; fewer if there are not so many.
        min_s: Shortest, in seconds.
        max_s: Longest, in seconds.
    """
    known = {path.read_text(encoding="utf-8").strip() for path in data.glob("*.lab")}
    entries = [(name, text) for name, text in ALLISON.texts() if text not in known]
    random.Random(0).shuffle(entries)
    recordings = ALLISON.recordings()
    clips: list[SpokenText] = []
    for name, text in entries:
        if len(clips) == size or name not in recordings:
            continue
        audio = _speech_of(_decoding(recordings[name]))
        if audio is not None and min_s <= len(audio) / SAMPLE_RATE_HZ <= max_s:
            clips.append(SpokenText(text, audio))
    return clips


def recorded_clip(path: Path) -> SpokenText:
    """Read a clip with its transcript beside it."""
    audio = _speech_of(_decoding(path))
    assert audio is not None
    return SpokenText(path.with_suffix(".lab").read_text(encoding="utf-8").strip(), audio)


def machine_clips(texts: list[str], voice: str) -> list[SpokenText]:
    """Let a voice of flite speak texts."""
    spoken = ((text, _speech_of(["flite", "-voice", voice, "-t", text, "-o"])) for text in texts)
    return [SpokenText(text, audio) for text, audio in spoken if audio is not None]


def _decoding(path: Path) -> list[str]:
    return ["ffmpeg", "-v", "error", "-y", "-i", str(path)]


def _speech_of(command: list[str]) -> Audio | None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "clip.flac")
        run_and_normalize(command, path, target_loudness_lufs=TARGET_LOUDNESS_LUFS)
        return read_waveform(path).samples.astype(np.float32) if path.is_file() else None
