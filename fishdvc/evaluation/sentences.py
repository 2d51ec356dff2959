"""Choose what every row of an evaluation speaks: held-out transcripts and the user's sentences."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishdvc.dataset.sentence_set import read_clip_list
from fishdvc.dataset.shards import CLIP_LIST, read_shards
from fishdvc.errors import DatasetError
from fishdvc.evaluation.results import Sentence
from fishdvc.storage.cache import combined_key
from fishdvc.text.clean import is_speakable
from fishdvc.text.files import read_utf8

REFERENCE_S = 5.0
"""Preferred length of a reference. fish-speech recommends 5 to 10 s."""
MAX_CLIP_SHARE = 1 / 8
"""Longest clip that is used, as a share of the model's ``max_seq_len``. So the reference, the text
and the speech always fit."""
MAX_SPEECH_SHARE = 1 / 2
"""Longest speech, as a share of ``max_seq_len``."""
MIN_CLIP_S = 1.0
"""Shorter clips are single words. They are used only if a speaker has no other."""
SOUNDS_OF_A_DIGIT, SOUNDS_OF_A_WIDE_CHARACTER = 5, 4
EXTRA_S = 1.0
"""Added to the maximum length of the speech, for short sentences."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A clip that is held out from training.

    Attributes:
        name: ``<speaker>/<clip>``, without suffix.
        speaker: The speaker.
        text: Transcript.
        codes: ``(num_codebooks, frames)``, uint16.
    """

    name: str
    speaker: str
    text: str
    codes: NDArray[np.integer[Any]]

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return int(self.codes.shape[1])

    @property
    def key(self) -> str:
        """Hash of the content."""
        return combined_key(self.name, self.text, self.codes.shape, self.codes.tobytes())


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A sentence, with what is needed to speak it.

    Attributes:
        sentence: The sentence.
        seed: Seed of the speech. The same for every row.
        recording: The clip of which the text is the transcript. None: a sentence of the user.
        reference: The clip that is given as reference, or None.
        max_frames: Longer speech has not ended by itself.
    """

    sentence: Sentence
    seed: int
    recording: Clip | None
    reference: Clip | None
    max_frames: int

    @property
    def key(self) -> str:
        """Hash of the content."""
        clips = [clip and clip.key for clip in (self.recording, self.reference)]
        return combined_key(self.sentence, self.seed, self.max_frames, clips)


def read_clips(folder: Path) -> list[Clip]:
    """Read the clips of a folder of shards.

    Raises:
        DatasetError: Shards or their list of clips are missing or damaged.
    """
    groups = list(read_shards(folder))
    names = read_clip_list(folder / CLIP_LIST, groups)
    return [
        Clip(name=name, speaker=group.name, text=sentence.texts[0], codes=sentence.codes)
        for group in groups
        for name, sentence in zip(names[group.name], group.sentences, strict=True)
    ]


def read_own_sentences(path: Path) -> list[str]:
    """Read sentences, one a line. Empty lines and lines that begin with ``#`` are left out.

    Raises:
        DatasetError: The file cannot be read, is not UTF-8, or has a line with nothing to speak.
    """
    sentences = []
    for number, line in enumerate(read_utf8(path).splitlines(), start=1):
        text = " ".join(line.split())
        if not text or text.startswith("#"):
            continue
        if not is_speakable(text):
            raise DatasetError(
                f"{path}: line {number}: nothing to speak in {text!r}; write a sentence, or remove "
                "the line"
            )
        sentences.append(text)
    return sentences


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on the length of clips and of speech, in frames of codes.

    Attributes:
        frame_rate_hz: Frames per second.
        max_seq_len: Largest number of tokens of the model, prompt and speech together.
        max_length_ratio: The speech of a sentence may have this multiple of the expected number of
            frames, and ``EXTRA_S`` more.
    """

    frame_rate_hz: float
    max_seq_len: int
    max_length_ratio: float

    def usable(self, clips: Sequence[Clip]) -> list[Clip]:
        """Return the clips that are not too long, without those of a single word if possible."""
        fitting = [c for c in clips if c.num_frames <= self.max_seq_len * MAX_CLIP_SHARE]
        return [c for c in fitting if c.num_frames >= MIN_CLIP_S * self.frame_rate_hz] or fitting

    def max_speech(self, expected: float) -> int:
        """Return the largest number of frames for speech of an expected number of frames."""
        longest = expected * self.max_length_ratio + EXTRA_S * self.frame_rate_hz
        return int(min(longest, self.max_seq_len * MAX_SPEECH_SHARE)) or 1


def plan_tasks(
    clips: Sequence[Clip], own: Sequence[str], *, num_held_out: int, seed: int, limits: Limits
) -> list[Task]:
    """Choose held-out clips, and plan each sentence without and with a reference.

    The choice depends on the seed and the names of the clips, so a new clip changes little of it.
    The speakers take turns, also in speaking the sentences of the user. A speaker has one
    reference, which is not among the sentences unless the speaker has no other clip.

    Args:
        clips: All held-out clips, at least one.
        own: Sentences of the user.
        num_held_out: Maximum number of held-out sentences.
        seed: Chooses the clips. The sentences get this seed and the next ones.
        limits: Of clips and of speech.
    """
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker, []).append(clip)
    usable = {speaker: limits.usable(group) for speaker, group in by_speaker.items()}
    wanted = REFERENCE_S * limits.frame_rate_hz
    references = {
        speaker: min(group, key=lambda clip: (abs(clip.num_frames - wanted), clip.name))
        for speaker, group in usable.items()
        if group
    }
    chosen = [_in_random_order(usable[name], clip, seed) for name, clip in references.items()]
    recordings = [clip for turn in zip_longest(*chosen) for clip in turn if clip][:num_held_out]
    frames_per_sound = sum(c.num_frames for c in clips) / sum(_num_sounds(c.text) for c in clips)
    speakers = list(by_speaker)
    spoken: list[tuple[str, str, float, Clip | None]] = [
        (clip.text, clip.speaker, clip.num_frames, clip) for clip in recordings
    ]
    spoken += [
        (text, speakers[index % len(speakers)], _num_sounds(text) * frames_per_sound, None)
        for index, text in enumerate(own)
    ]
    tasks: list[Task] = []
    for index, (text, speaker, expected_frames, recording) in enumerate(spoken):
        name = (
            f"held_out_{index + 1:02d}" if recording else f"own_{index + 1 - len(recordings):02d}"
        )
        task = Task(
            sentence=Sentence(
                name=name,
                text=text,
                speaker=speaker,
                source="held_out" if recording else "own",
                reference=None,
            ),
            seed=seed + index,
            recording=recording,
            reference=None,
            max_frames=limits.max_speech(expected_frames),
        )
        tasks.append(task)
        reference = references.get(speaker)
        if reference and reference is not recording:
            given = replace(task.sentence, name=f"{name}_with_reference", reference=reference.name)
            tasks.append(replace(task, sentence=given, reference=reference))
    return tasks


def _in_random_order(clips: Sequence[Clip], reference: Clip, seed: int) -> list[Clip]:
    """Return clips with different texts, without the reference if there are others."""
    by_text = {clip.text: clip for clip in clips if clip.text != reference.text}
    others = by_text.values() or [reference]
    return sorted(others, key=lambda clip: combined_key(seed, clip.name))


def _num_sounds(text: str) -> int:
    """Estimate the number of letters when numbers are spelled out and Chinese is romanized."""
    return sum(
        SOUNDS_OF_A_DIGIT
        if char.isdigit()
        else SOUNDS_OF_A_WIDE_CHARACTER
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )
