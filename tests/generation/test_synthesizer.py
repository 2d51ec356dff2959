"""From text to a waveform, with the demo's base."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fishdvc.codec.checkpoint import load_codec
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.generation import synthesizer as synthesizer_module
from fishdvc.generation.synthesizer import Reference, Synthesizer
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import load_tokenizer

CHECKPOINT = Path(__file__).parents[2] / "demo_base" / "checkpoint"
CODEC = CHECKPOINT / "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
SHORT = {"max_part_s": 0.7}


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(
        load_dual_ar(CHECKPOINT, dtype=torch.float32),
        load_codec(CODEC, CODEC.with_suffix(".json")),
        load_tokenizer(CHECKPOINT),
    )


@pytest.fixture(scope="module")
def reference(synthesizer: Synthesizer) -> Reference:
    tone = 0.2 * torch.sin(torch.arange(24_000) / 10)
    return synthesizer.encode_reference(tone, 24_000, "A tone.")


def test_speech_is_as_long_as_its_codes_and_stays_in_range(synthesizer: Synthesizer) -> None:
    (speech,) = synthesizer.speak([("Thank you for calling.", [])], seeds=[1], **SHORT)
    assert speech.codes.shape == (8, 10)
    assert speech.samples.shape == (10 * 1024,)
    assert (speech.samples.dtype, speech.sample_rate_hz) == (torch.float32, 16_000)
    assert 0 < speech.samples.abs().max() <= 1
    assert speech.codes.max() < 1000
    assert not speech.ended


def test_a_resampled_reference_changes_the_speech(
    synthesizer: Synthesizer, reference: Reference
) -> None:
    assert reference.codes.shape == (8, 15)
    (without,) = synthesizer.speak([("Hello.", [])], seeds=[1], **SHORT)
    (with_reference,) = synthesizer.speak([("Hello.", [reference])], seeds=[1], **SHORT)
    assert not torch.equal(without.codes, with_reference.codes)


def test_texts_with_different_numbers_of_parts_are_spoken_as_alone(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesizer_module, "MAX_PART_CHARACTERS", 8)
    texts = ["One two. Three. Four.", "Five.", "Six six. Seven."]
    together = synthesizer.speak([(text, []) for text in texts], seeds=[1, 2, 3], **SHORT)
    for seed, (text, speech) in enumerate(zip(texts, together, strict=True), start=1):
        (alone,) = synthesizer.speak([(text, [])], seeds=[seed], **SHORT)
        assert torch.equal(speech.codes, alone.codes)
        assert torch.equal(speech.samples, alone.samples)
    # Speech of several parts begins with that of the first.
    for speech, part, seed in ((together[0], "One two.", 1), (together[2], "Six six.", 3)):
        (first,) = synthesizer.speak([(part, [])], seeds=[seed], **SHORT)
        num_frames = first.codes.shape[1]
        assert torch.equal(speech.codes[:, :num_frames], first.codes)
        assert speech.codes.shape[1] > num_frames


def test_the_prompt_of_a_part_has_as_many_earlier_parts_as_fit(
    synthesizer: Synthesizer, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompted: list[list[str]] = []
    prompt_of = synthesizer_module.generation_prompt

    def spy(tokenizer, text, references, **options):  # type: ignore[no-untyped-def]
        prompted.append([said for said, _ in references])
        return prompt_of(tokenizer, text, references, **options)

    monkeypatch.setattr(synthesizer_module, "generation_prompt", spy)
    monkeypatch.setattr(synthesizer_module, "MAX_PART_CHARACTERS", 8)
    synthesizer.speak([("One two. Three. Four.", [reference])], seeds=[1], **SHORT)
    assert prompted == [["A tone."], ["A tone.", "One two."], ["A tone.", "One two.", "Three."]]

    prompted.clear()
    codes = torch.zeros(8, 10).int().numpy()
    longest = prompt_of(synthesizer.tokenizer, "Three.", [("One two.", codes)], num_codebooks=8)
    config = synthesizer.model.config
    small = type(config)(**{**vars(config), "max_seq_len": longest.shape[1] + 10})
    monkeypatch.setattr(synthesizer.model, "config", small)
    synthesizer.speak([("One two. Three. Four.", [])], seeds=[1], **SHORT)
    assert prompted == [[], ["One two."], ["One two.", "Three."], ["Three."]]


def test_a_text_with_nothing_to_speak_is_an_error(synthesizer: Synthesizer) -> None:
    with pytest.raises(ParamsError, match="'!': nothing to speak in it"):
        synthesizer.speak([("Hello.", []), ("!", [])], seeds=[1, 2])


@pytest.mark.parametrize(("num_codebooks", "codebook_size"), [(4, 1000), (8, 1025)])
def test_a_codec_with_other_codebooks_is_an_error(
    num_codebooks: int, codebook_size: int, synthesizer: Synthesizer, monkeypatch: Any
) -> None:
    other = SimpleNamespace(num_codebooks=num_codebooks, codebook_size=codebook_size)
    monkeypatch.setattr(synthesizer.codec, "config", other)
    with pytest.raises(CheckpointError, match=f"of up to 1024 codes, got {num_codebooks} of"):
        Synthesizer(synthesizer.model, synthesizer.codec, synthesizer.tokenizer)
