import numpy as np
import pytest
import torch

from demo_base.recipe.sequences import (
    PromptShape,
    SequenceSampler,
    collate,
    diagonal_log_weights,
)
from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer
from tests.demo_base.test_checkpoint import CHECKPOINT


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(CHECKPOINT)


def sentence(tokenizer: Tokenizer, text: str, num_frames: int) -> TokenizedSentence:
    return tokenize_sentence(tokenizer, [text], np.full((8, num_frames), 7))


def test_the_prompt_shape_locates_the_text(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    spoken = sentence(tokenizer, "zebra", 3)

    (ids,) = spoken.ids
    text = ids[shape.num_before_text : len(ids) - 1 - 3 - shape.num_after_text]

    assert text.tolist() == tokenizer.encode_plain("zebra")
    assert tokenizer.voice_id == ids[-1 - 3 - 1]


def test_the_weights_of_a_frame_peak_at_its_part_of_its_own_text(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    first, second = sentence(tokenizer, "zzzz", 3), sentence(tokenizer, "zz", 1)
    assert len(tokenizer.encode_plain("zzzz")) == 4

    (weights,) = diagonal_log_weights([[first, second]], shape, spread=2.0)

    # Four characters; the predictions of three frames and of the end.
    voice = first.num_tokens - 3 - 1
    text = slice(shape.num_before_text, shape.num_before_text + 4)
    distances = torch.arange(4).unsqueeze(1) - torch.arange(4)
    torch.testing.assert_close(weights[voice : voice + 4, text], -(distances**2) / 8.0)
    # The second sentence has two characters, one frame and the end. All else is -inf.
    start = first.num_tokens
    text = slice(start + shape.num_before_text, start + shape.num_before_text + 2)
    voice = start + second.num_tokens - 1 - 1
    torch.testing.assert_close(
        weights[voice : voice + 2, text], torch.tensor([[0.0, -0.125], [-0.125, 0.0]])
    )
    assert weights.isfinite().sum() == 4 * 4 + 2 * 2


def test_a_continuing_sentence_is_laid_out_as_after_a_reference(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    first, second = sentence(tokenizer, "zebra", 3), sentence(tokenizer, "dog", 2)

    (inputs,) = collate([[first, shape.continuing(second)]], padding_id=0).inputs

    reference = ("zebra", np.full((8, 3), 7))
    prompt = generation_prompt(tokenizer, "dog", [reference], num_codebooks=8)
    assert inputs[:, : prompt.shape[1]].tolist() == prompt.tolist()
    assert inputs.shape[1] == prompt.shape[1] + 2


def test_the_text_of_a_continuing_sentence_is_found(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    for spoken in (sentence(tokenizer, "dog", 2), shape.continuing(sentence(tokenizer, "dog", 2))):
        text = spoken.ids[0][shape.text_range(spoken)]
        assert text.tolist() == tokenizer.encode_plain("dog")


@pytest.fixture(scope="module")
def shape(tokenizer: Tokenizer) -> PromptShape:
    return PromptShape.of(tokenizer)


@pytest.fixture(scope="module")
def voice(tokenizer: Tokenizer) -> list[TokenizedSentence]:
    return [sentence(tokenizer, "z" * n, n) for n in range(1, 41)]


def sampler_of(
    voice: list[TokenizedSentence], shape: PromptShape, **kwargs: int
) -> SequenceSampler:
    return SequenceSampler([voice], shares=np.ones(1), shape=shape, seed=1, **kwargs)


def test_training_begins_with_short_sentences_and_is_repeatable(
    voice: list[TokenizedSentence], shape: PromptShape
) -> None:
    sampler = sampler_of(voice, shape, curriculum_steps=10, max_tokens=4096)
    early = [sampler.sequences(0, 60) for _ in range(2)]
    late = sampler.sequences(10, 400)

    def lengths(sequences: list[list[TokenizedSentence]]) -> list[list[int]]:
        return [[s.codes.shape[1] for s in sequence] for sequence in sequences]

    assert lengths(early[0]) == lengths(early[1])
    assert max(n for sequence in lengths(early[0]) for n in sequence) <= 6
    assert max(n for sequence in lengths(late) for n in sequence) > 20


def test_no_sequence_exceeds_max_tokens(voice: list[TokenizedSentence], shape: PromptShape) -> None:
    longest = voice[-1].num_tokens * 3
    sampler = sampler_of(voice, shape, curriculum_steps=1, max_tokens=longest)

    drawn = [sequence for step in range(1, 40) for sequence in sampler.sequences(step, 400)]

    lengths = [sum(s.num_tokens for s in sequence) for sequence in drawn]
    assert 0.8 * longest < max(lengths) <= longest
    assert min(lengths) > 0


def test_a_sentence_that_is_too_long_is_left_out(
    voice: list[TokenizedSentence], shape: PromptShape
) -> None:
    longest = voice[30].num_tokens
    sampler = sampler_of(voice, shape, curriculum_steps=1, max_tokens=longest)
    drawn = [sequence for step in range(1, 40) for sequence in sampler.sequences(step, 400)]
    assert all(drawn)
    assert max(s.num_tokens for sequence in drawn for s in sequence) == longest


def test_half_of_the_sequences_are_laid_out_as_references(
    voice: list[TokenizedSentence], tokenizer: Tokenizer, shape: PromptShape
) -> None:
    sampler = sampler_of(voice, shape, curriculum_steps=1, max_tokens=4096)
    drawn = [sequence for step in range(1, 80) for sequence in sampler.sequences(step, 100)]
    several = [sequence for sequence in drawn if len(sequence) > 1]

    assert all(sequence[0].ids[0][0] == tokenizer.im_start_id for sequence in drawn)
    firsts = [{int(s.ids[0][0]) for s in sequence[1:]} for sequence in several]
    assert {frozenset(ids) for ids in firsts} == {
        frozenset({tokenizer.im_start_id}),
        frozenset({tokenizer.im_end_id}),
    }
    share = firsts.count({tokenizer.im_end_id}) / len(firsts)
    assert 0.35 < share < 0.65
