"""From text to a waveform, with the demo's own base."""

from pathlib import Path

import pytest
import torch

from fishdvc.codec.checkpoint import load_codec
from fishdvc.errors import ParamsError
from fishdvc.generation import synthesizer as synthesizer_module
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Reference, Synthesizer
from fishdvc.lora.apply import applied_adapter
from fishdvc.lora.merge import Adapter, ModuleAdapter, merge_adapter
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
    (speech,) = synthesizer.speak(["Hello."], seeds=[1], **SHORT)
    assert speech.codes.shape == (8, 10)
    assert speech.samples.shape == (10 * 1024,)
    assert (speech.samples.dtype, speech.sample_rate_hz) == (torch.float32, 16_000)
    assert 0 < speech.samples.abs().max() <= 1
    assert speech.codes.max() < 1000
    assert not speech.ended


def test_a_reference_of_another_rate_becomes_codes_and_changes_the_speech(
    synthesizer: Synthesizer, reference: Reference
) -> None:
    assert reference.codes.shape == (8, 15)
    (without,) = synthesizer.speak(["Hello."], seeds=[1], **SHORT)
    (with_reference,) = synthesizer.speak(["Hello."], seeds=[1], references=[reference], **SHORT)
    assert not torch.equal(without.codes, with_reference.codes)


def test_texts_of_different_numbers_of_parts_are_spoken_as_alone(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesizer_module, "MAX_PART_CHARACTERS", 8)
    texts = ["One two. Three. Four.", "Five.", "Six six. Seven."]
    together = synthesizer.speak(texts, seeds=[1, 2, 3], **SHORT)
    for seed, (text, speech) in enumerate(zip(texts, together, strict=True), start=1):
        (alone,) = synthesizer.speak([text], seeds=[seed], **SHORT)
        assert torch.equal(speech.codes, alone.codes)
        assert torch.equal(speech.samples, alone.samples)
    # The first part, and then more: however long each is.
    for speech, part, seed in ((together[0], "One two.", 1), (together[2], "Six six.", 3)):
        (first,) = synthesizer.speak([part], seeds=[seed], **SHORT)
        num_frames = first.codes.shape[1]
        assert torch.equal(speech.codes[:, :num_frames], first.codes)
        assert speech.codes.shape[1] > num_frames


def test_a_later_part_hears_the_earlier_ones_as_far_as_there_is_room(
    synthesizer: Synthesizer, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[str]] = []
    prompt_of = synthesizer_module.generation_prompt

    def spy(tokenizer, text, references, **options):  # type: ignore[no-untyped-def]
        heard.append([said for said, _ in references])
        return prompt_of(tokenizer, text, references, **options)

    monkeypatch.setattr(synthesizer_module, "generation_prompt", spy)
    monkeypatch.setattr(synthesizer_module, "MAX_PART_CHARACTERS", 8)
    synthesizer.speak(["One two. Three. Four."], seeds=[1], references=[reference], **SHORT)
    assert heard == [["A tone."], ["A tone.", "One two."], ["A tone.", "One two.", "Three."]]

    heard.clear()
    codes = torch.zeros(8, 10).int().numpy()
    longest = prompt_of(synthesizer.tokenizer, "Three.", [("One two.", codes)], num_codebooks=8)
    config = synthesizer.model.config
    small = type(config)(**{**vars(config), "max_seq_len": longest.shape[1] + 10})
    monkeypatch.setattr(synthesizer.model, "config", small)
    synthesizer.speak(["One two. Three. Four."], seeds=[1], **SHORT)
    assert heard == [[], ["One two."], ["One two.", "Three."], ["Three."]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_over_the_base_speaks_as_the_merged_model(
    synthesizer: Synthesizer, dtype: torch.dtype
) -> None:
    """Greedy codes of two adapters over one base; and the base is itself again afterwards."""
    generator = torch.Generator().manual_seed(0)
    base = load_dual_ar(CHECKPOINT, dtype=dtype)
    weights = base.state_dict()
    names = ["layers.0.attention.wqkv", "layers.2.feed_forward.w2", "fast_output", "embeddings"]

    def adapter() -> Adapter:
        modules = {}
        for name in names:
            rows, columns = weights[f"{name}.weight"].shape
            if name == "embeddings":
                rows, columns = columns, rows
            modules[name] = ModuleAdapter(
                lora_a=torch.randn(4, columns, generator=generator) / columns**0.5,
                lora_b=torch.randn(rows, 4, generator=generator) / 4,
                magnitude=None,
                is_embedding=name == "embeddings",
            )
        return Adapter(modules, scale=0.5)

    def spoken(model: torch.nn.Module) -> torch.Tensor:
        one = Synthesizer(model, synthesizer.codec, synthesizer.tokenizer)  # type: ignore[arg-type]
        greedy = Sampling(top_p=1e-9)
        return one.speak(["Hello."], seeds=[0], sampling=greedy, **SHORT)[0].codes

    alone = spoken(base)
    adapters = [adapter(), adapter()]
    over_base = []
    for one in adapters:
        with applied_adapter(base, one):
            over_base.append(spoken(base))
    assert torch.equal(spoken(base), alone)
    assert not torch.equal(over_base[0], over_base[1])
    if dtype == torch.float32:
        for one, codes in zip(adapters, over_base, strict=True):
            merged = load_dual_ar(CHECKPOINT, dtype=dtype)
            merged.load_state_dict(merge_adapter(weights, one))
            assert torch.equal(spoken(merged), codes)


def test_bad_arguments_are_all_named(synthesizer: Synthesizer) -> None:
    with pytest.raises(ParamsError) as error:
        synthesizer.speak(["Hello.", " "], seeds=[-1])
    assert all(words in str(error.value) for words in ("text 2: empty", "one for each of 2", "-1"))
    with pytest.raises(ParamsError, match="at least one expected"):
        synthesizer.speak([], seeds=[])
