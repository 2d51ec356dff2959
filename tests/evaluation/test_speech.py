"""Rows speak the same sentences with the same seeds, and speech is kept until its inputs change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fishdvc.base.folder import MODEL_FILES
from fishdvc.evaluation import speech
from fishdvc.evaluation.sentences import Clip, Limits, plan_tasks
from fishdvc.evaluation.speech import Speaker
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Speech
from fishdvc.storage.cache import FileCache

LIMITS = Limits(frame_rate_hz=20, max_seq_len=1024, max_length_ratio=1.5)
CLIPS = [
    Clip(name=f"ann/{n}", speaker="ann", text=f"Text {n}.", codes=np.full((8, 20 + n), n))
    for n in range(4)
]
TASKS = plan_tasks(CLIPS, ["Hello."], num_held_out=2, seed=3, limits=LIMITS)
NUM_FRAMES = 30
SAMPLING = Sampling(temperature=0.5, top_p=0.6, repetition_penalty=1.1)


class FakeSynthesizer:
    """Speaks ``NUM_FRAMES`` frames of a constant, and remembers what it was asked to speak."""

    model = None

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def speak(self, texts: Sequence[Any], **settings: Any) -> list[Speech]:
        self.asked.append({"texts": texts, **settings})
        codes = torch.ones(8, NUM_FRAMES, dtype=torch.int64)
        return [Speech(torch.full((100,), 0.5), 44100, codes, ended=True) for _ in texts]


@pytest.fixture
def synthesizer(monkeypatch: pytest.MonkeyPatch) -> FakeSynthesizer:
    """Stands for the base and the codec."""
    fake = FakeSynthesizer()
    monkeypatch.setattr(speech, "load_synthesizer", lambda *_: fake)
    for name in ("load_weights", "read_adapter_for", "use_adapter"):
        monkeypatch.setattr(speech, name, lambda *_args, **_settings: None)
    return fake


@pytest.fixture
def speaker(tmp_path: Path, top: Path) -> Speaker:
    base = tmp_path / "base"
    for file in [*(base / name for name in MODEL_FILES), base / "codec.pth"]:
        file.parent.mkdir(exist_ok=True)
        file.write_text(file.name)
    for name in ("a", "b"):
        adapter = tmp_path / name
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text("{}")
        (adapter / "adapter_model.safetensors").write_text(name)
    return Speaker(
        base=base,
        codec_file=base / "codec.pth",
        codec_config=next((top / "fishdvc/codec").glob("*.json")),
        device_name="cpu",
        tasks=TASKS,
        sampling=SAMPLING,
        cache=FileCache(tmp_path / "cache"),
    )


def test_base_and_adapters_speak_the_same_with_the_same_seeds(
    speaker: Speaker, synthesizer: FakeSynthesizer, tmp_path: Path
) -> None:
    keys = [speaker.speak(adapter)[0] for adapter in (None, tmp_path / "a", tmp_path / "b")]
    assert len(set(keys)) == 3
    for asked in synthesizer.asked:
        assert asked["seeds"] == [3, 3, 4, 4, 5, 5]
        assert asked["sampling"] == SAMPLING
        assert [text for text, _ in asked["texts"]] == [task.sentence.text for task in TASKS]
        given = [[reference.text for reference in references] for _, references in asked["texts"]]
        # The reference is the longest clip, the nearest to five seconds.
        assert given == [[], ["Text 3."]] * 3
    assert len(synthesizer.asked) == 3
    speaker.speak(tmp_path / "a")
    assert len(synthesizer.asked) == 3


@pytest.mark.usefixtures("synthesizer")
def test_speech_of_the_maximum_length_has_not_ended(speaker: Speaker) -> None:
    tasks = [replace(TASKS[0], max_frames=NUM_FRAMES + more) for more in (0, 1)]
    tasks[1] = replace(tasks[1], sentence=TASKS[1].sentence)
    _, spoken = replace(speaker, tasks=tasks).speak(None)
    first, second = (spoken[task.sentence.name] for task in tasks)
    assert (first.ended, second.ended) == (False, True)
    recorded = TASKS[0].recording
    assert recorded
    rate_hz = speaker._codec.frame_rate_hz
    assert first.real_duration_s == pytest.approx(recorded.num_frames / rate_hz)
    assert first.samples == pytest.approx(0.5, abs=1e-4)


def change_file(name: str) -> Callable[[Speaker], Speaker]:
    def change(speaker: Speaker) -> Speaker:
        (speaker.base / name).write_text("changed")
        return replace(speaker)

    return change


@pytest.mark.usefixtures("synthesizer")
@pytest.mark.parametrize(
    "change",
    [
        lambda speaker: replace(speaker, sampling=replace(SAMPLING, temperature=0.6)),
        lambda speaker: replace(speaker, sampling=replace(SAMPLING, top_p=0.7)),
        lambda speaker: replace(speaker, tasks=[replace(TASKS[0], seed=9), *TASKS[1:]]),
        lambda speaker: replace(speaker, tasks=TASKS[:-1]),
        change_file("codec.pth"),
        *map(change_file, MODEL_FILES),
    ],
)
def test_speech_is_spoken_again_after_any_change(
    change: Callable[[Speaker], Speaker], speaker: Speaker, tmp_path: Path
) -> None:
    before = [speaker.speak(adapter)[0] for adapter in (None, tmp_path / "a")]
    changed = change(speaker)
    assert not set(before) & {changed.speak(adapter)[0] for adapter in (None, tmp_path / "a")}


def test_recordings_are_decoded_from_their_codes(
    speaker: Speaker, synthesizer: FakeSynthesizer
) -> None:
    def decode(codes: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.full((1, int(lengths[0])), codes[0, 0, 0] / 10), None

    synthesizer.codec = SimpleNamespace(decode=decode)  # type: ignore[attr-defined]
    key, decoded = speaker.decode_recordings()
    assert list(decoded) == [task.sentence.name for task in TASKS if task.recording]
    for task in TASKS:
        if task.recording:
            spoken = decoded[task.sentence.name]
            number = int(task.recording.codes[0, 0])
            assert spoken.samples == pytest.approx(np.full(20 + number, number / 10), abs=1e-4)
            assert spoken.ended
    assert key != speaker.speak(None)[0]
