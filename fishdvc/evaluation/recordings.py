"""Read recordings of the speakers, to compare speech with them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from fishdvc.audio.resample import resample
from fishdvc.audio.waveform import read_waveform
from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.sentences import Clip, Task
from fishdvc.storage.cache import combined_key

NUM_VOICE_CLIPS = 20
"""Recordings that stand for the voice of a speaker."""


def read_recordings(
    clips: Iterable[Clip], normalized: Path, *, sample_rate_hz: int
) -> list[Utterance]:
    """Read normalized clips, in the order of the clips.

    Raises:
        AudioError: A clip cannot be read.
    """
    recordings = []
    for clip in clips:
        recorded = read_waveform(normalized / f"{clip.name}.flac")
        samples = resample(
            torch.from_numpy(recorded.samples), recorded.sample_rate_hz, sample_rate_hz
        ).numpy()
        recordings.append(
            Utterance(
                text=clip.text,
                speaker=clip.speaker,
                samples=samples,
                sample_rate_hz=sample_rate_hz,
                real_duration_s=len(samples) / sample_rate_hz,
            )
        )
    return recordings


def voice_clips(clips: Sequence[Clip], tasks: Sequence[Task]) -> dict[str, list[Clip]]:
    """Choose clips of each speaker of the tasks that stand for the voice.

    They are not recordings of the tasks, unless the speaker has no others. The choice depends on
    the names of the clips.
    """
    measured = {task.recording.name for task in tasks if task.recording}
    chosen = {}
    for speaker in dict.fromkeys(task.sentence.speaker for task in tasks):
        own = [clip for clip in clips if clip.speaker == speaker]
        others = [clip for clip in own if clip.name not in measured] or own
        chosen[speaker] = sorted(others, key=lambda clip: combined_key(clip.name))[:NUM_VOICE_CLIPS]
    return chosen
