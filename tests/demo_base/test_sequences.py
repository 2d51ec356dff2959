import numpy as np
import pytest
import torch

from demo_base.sequences import (
    PromptShape,
    SequenceSampler,
    collate,
    diagonal_log_weights,
    voice_shares,
)
from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer
from tests.demo_base.test_checkpoint import CHECKPOINT


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(CHECKPOINT)


def sentence(tokenizer: Tokenizer, text: str, num_frames: int) -> TokenizedSentence:
    return tokenize_sentence(tokenizer, [text], np.full((8, num_frames), 7))


def test_a_text_stands_where_the_shape_of_the_prompt_says(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    spoken = sentence(tokenizer, "zebra", 3)

    (ids,) = spoken.ids
    text = ids[shape.num_before_text : len(ids) - 1 - 3 - shape.num_after_text]

    assert text.tolist() == tokenizer.encode_plain("zebra")
    assert tokenizer.voice_id == ids[-1 - 3 - 1]


def test_each_frame_is_drawn_to_its_part_of_its_own_text(tokenizer: Tokenizer) -> None:
    shape = PromptShape.of(tokenizer)
    first, second = sentence(tokenizer, "zzzz", 3), sentence(tokenizer, "zz", 1)
    num_text = len(tokenizer.encode_plain("zzzz"))
    assert num_text == 4

    (weights,) = diagonal_log_weights([[first, second]], shape, spread=2.0)

    # Before each of three frames and the end, so one character each.
    voice = first.num_tokens - 3 - 1
    text = slice(shape.num_before_text, shape.num_before_text + 4)
    distances = torch.arange(4).unsqueeze(1) - torch.arange(4)
    torch.testing.assert_close(weights[voice : voice + 4, text], -(distances**2) / 8.0)
    # Before a frame and the end of the second, and nothing else anywhere.
    start = first.num_tokens
    text = slice(start + shape.num_before_text, start + shape.num_before_text + 2)
    voice = start + second.num_tokens - 1 - 1
    torch.testing.assert_close(
        weights[voice : voice + 2, text], torch.tensor([[0.0, -0.125], [-0.125, 0.0]])
    )
    assert weights.isfinite().sum() == 4 * 4 + 2 * 2


def test_weights_have_the_shape_of_the_batch(tokenizer: Tokenizer) -> None:
    sequences = [[sentence(tokenizer, "zz", 2)], [sentence(tokenizer, "zz", 5)] * 2]
    batch = collate(sequences, padding_id=tokenizer.end_of_text_id)
    weights = diagonal_log_weights(sequences, PromptShape.of(tokenizer), spread=1.0)
    batch_size, _, num_tokens = batch.inputs.shape
    assert weights.shape == (batch_size, num_tokens, num_tokens)


def test_training_begins_with_short_sentences_and_repeats_itself(tokenizer: Tokenizer) -> None:
    voice = [sentence(tokenizer, "z" * n, n) for n in range(1, 41)]
    sampler = SequenceSampler([voice], shares=[1.0], curriculum_steps=10, max_tokens=4096, seed=1)
    early = [sampler.sequences(0, 60) for _ in range(2)]
    late = sampler.sequences(10, 400)

    def lengths(sequences: list[list[TokenizedSentence]]) -> list[list[int]]:
        return [[s.codes.shape[1] for s in sequence] for sequence in sequences]

    assert lengths(early[0]) == lengths(early[1])
    assert max(n for sequence in lengths(early[0]) for n in sequence) <= 6
    assert max(n for sequence in lengths(late) for n in sequence) > 20


def test_people_are_drawn_as_often_as_asked_and_voices_as_they_have_sentences() -> None:
    sizes = {"slt": 300, "june-fr": 1, "rms": 100, "carlo-it": 3}
    shares = voice_shares(sizes, human_share=0.2)
    assert shares == pytest.approx([0.6, 0.05, 0.2, 0.15])


def test_no_sequence_is_longer_than_the_model_reads(tokenizer: Tokenizer) -> None:
    voice = [sentence(tokenizer, "z" * n, n) for n in range(1, 41)]
    longest = voice[-1].num_tokens * 3
    sampler = SequenceSampler([voice], shares=[1.0], curriculum_steps=1, max_tokens=longest, seed=1)

    drawn = [sequence for step in range(1, 40) for sequence in sampler.sequences(step, 400)]

    lengths = [sum(s.num_tokens for s in sequence) for sequence in drawn]
    assert 0.8 * longest < max(lengths) <= longest
    assert min(lengths) > 0
