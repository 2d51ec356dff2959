"""What the rows speak, with which reference and seed, and which clips stand for a voice."""

from dataclasses import replace

import numpy as np
import pytest

from fishdvc.evaluation.recordings import voice_clips
from fishdvc.evaluation.sentences import Clip, Limits, Task, plan_tasks

LIMITS = Limits(frame_rate_hz=10, max_seq_len=800, max_length_ratio=2)
"""A reference should have 50 frames, a clip 10 to 100 frames."""


def clip(name: str, num_frames: int, text: str | None = None) -> Clip:
    """A clip with a text of ten letters, unless another text is given."""
    speaker, _, end = name.partition("/")
    codes = np.full((2, num_frames), 7)
    return Clip(name=name, speaker=speaker, text=text or f"{end:x<10}", codes=codes)


CLIPS = (
    clip("ann/a", 20),
    clip("ann/b", 52),
    clip("ann/c", 30),
    clip("bob/a", 40),
    clip("bob/b", 100),
    clip("bob/c", 90),
)
"""The references are ann/b and bob/a."""


def plan(
    own: tuple[str, ...] = (), clips: tuple[Clip, ...] = CLIPS, number: int = 4, seed: int = 5
) -> list[Task]:
    return plan_tasks(clips, own, num_held_out=number, seed=seed, limits=LIMITS)


def test_each_sentence_is_spoken_without_and_with_the_reference_of_its_speaker() -> None:
    tasks = plan(own=("Hello.", "Good bye.", "Thanks."))
    names = [f"held_out_{i:02d}" for i in range(1, 5)] + [f"own_{i:02d}" for i in range(1, 4)]
    assert [task.sentence.name for task in tasks[::2]] == names
    assert [task.sentence.name for task in tasks[1::2]] == [f"{n}_with_reference" for n in names]
    speakers = ["ann", "bob", "ann", "bob", "ann", "bob", "ann"]
    assert [task.sentence.speaker for task in tasks[::2]] == speakers
    references = {"ann": "ann/b", "bob": "bob/a"}
    for without, given in zip(tasks[::2], tasks[1::2], strict=True):
        assert (without.reference, without.sentence.reference) == (None, None)
        expected = references[given.sentence.speaker]
        assert given.reference
        assert (given.reference.name, given.sentence.reference) == (expected, expected)
        assert given.seed == without.seed
        assert given.recording is without.recording
    assert [task.seed for task in tasks[::2]] == [5, 6, 7, 8, 9, 10, 11]


def test_a_reference_is_spoken_only_if_the_speaker_has_no_other_clip() -> None:
    spoken = {task.recording.name for task in plan(number=9) if task.recording}
    assert spoken == {"ann/a", "ann/c", "bob/b", "bob/c"}
    (only,) = plan(clips=CLIPS[1:2])
    assert only.recording is CLIPS[1]
    assert only.reference is None


def test_a_clip_with_the_text_of_the_reference_is_not_spoken() -> None:
    clips = (*CLIPS[:3], clip("ann/d", 25, text=CLIPS[1].text))
    assert "ann/d" not in {task.recording.name for task in plan(clips=clips) if task.recording}


def test_the_choice_depends_on_the_seed_and_a_new_clip_changes_little() -> None:
    clips = tuple(clip(f"ann/{i}", 50 + i) for i in range(40))

    def chosen(seed: int, clips: tuple[Clip, ...] = clips) -> list[str]:
        return [t.recording.name for t in plan(clips=clips, seed=seed)[::2] if t.recording]

    assert chosen(5) != chosen(6)
    assert len(set(chosen(5)) - set(chosen(5, (*clips, clip("ann/new", 60))))) <= 1


def test_clips_that_are_too_long_or_single_words_are_left_out() -> None:
    clips = [clip("ann/a", n) for n in (9, 10, 100, 101)]
    assert [c.num_frames for c in LIMITS.usable(clips)] == [10, 100]
    assert [c.num_frames for c in LIMITS.usable([clips[0], clips[3]])] == [9]


def test_the_longest_speech_is_by_the_recording_or_by_the_text() -> None:
    # 332 frames of 60 letters. A digit has five sounds, a wide character four.
    own = ("ten letter", "12", "你好")
    tasks = plan(own=own, number=1)
    recorded = tasks[0].recording
    assert recorded
    assert tasks[0].max_frames == 2 * recorded.num_frames + 10
    expected = [int(2 * sounds * 332 / 60 + 10) for sounds in (10, 10, 8)]
    assert [task.max_frames for task in tasks[2::2]] == expected
    assert LIMITS.max_speech(1000) == 400
    assert replace(LIMITS, max_seq_len=1).max_speech(1) == 1


@pytest.mark.parametrize("changed", ["seed", "max_frames", "reference", "recording", "sentence"])
def test_the_key_of_a_task_depends_on_each_field(changed: str) -> None:
    task = plan()[1]
    values = {
        "seed": task.seed + 1,
        "max_frames": task.max_frames + 1,
        "reference": clip("ann/b", 53),
        "recording": clip("ann/a", 21),
        "sentence": replace(task.sentence, text="Other."),
    }
    assert replace(task, **{changed: values[changed]}).key != task.key  # type: ignore[arg-type]
    assert plan()[1].key == task.key


def test_a_voice_is_that_of_clips_of_the_speaker_that_are_not_measured() -> None:
    tasks = plan(number=3)
    measured = {task.recording.name for task in tasks if task.recording}
    assert len(measured) == 3
    training = [clip(f"{speaker}/train", 20) for speaker in ("ann", "bob", "eve")]
    chosen = voice_clips([*CLIPS, *training], tasks)
    assert list(chosen) == ["ann", "bob"]
    for speaker, clips in chosen.items():
        names = {c.name for c in (*CLIPS, *training) if c.speaker == speaker}
        assert {c.name for c in clips} == names - measured
    many = [clip(f"ann/{i}", 20) for i in range(50)]
    assert len(voice_clips(many, tasks)["ann"]) == 20
    only = plan(clips=CLIPS[1:2])
    assert voice_clips(CLIPS[1:2], only) == {"ann": [CLIPS[1]]}
