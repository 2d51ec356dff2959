"""Draw the sequences of a training step of the dual-AR model, and locate their text and speech."""

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishdvc.dataset.collate import Batch, batch_of, pad_sequences
from fishdvc.dataset.examples import IGNORED_LABEL, TokenizedSentence, training_example
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.tokenizer import Tokenizer

SENTENCE_COUNTS = (1,) * 11 + (2, 2, 6, 6, 20)
"""Numbers of sentences in a sequence, equally likely.

Generation with a reference and fine-tuning both use sequences of several sentences.
"""
REFERENCE_SHARE = 0.5
"""Share of the sequences that are laid out as references in generation: with one system turn.

In fine-tuning, each sentence has its own.
"""
SHORTEST_SHARE = 0.15
"""Share of the sentences, the shortest, that training begins with."""


@dataclass(frozen=True)
class PromptShape:
    """Numbers of tokens around a sentence's text, the same in every prompt."""

    end_id: int
    """Id of ``<|im_end|>``."""
    num_system: int
    """Tokens of the system turn before its ``<|im_end|>``."""
    num_before_text: int
    num_after_text: int
    """Up to and including ``<|voice|>``."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Find the position at which the prompts of two texts of one token differ."""
        first, second = (
            generation_prompt(tokenizer, text, num_codebooks=1)[0] for text in ("a", "b")
        )
        (position,) = np.flatnonzero(first != second)
        return cls(
            end_id=tokenizer.im_end_id,
            num_system=int(np.argmax(first == tokenizer.im_end_id)),
            num_before_text=int(position),
            num_after_text=len(first) - int(position) - 1,
        )

    def continuing(self, sentence: TokenizedSentence) -> TokenizedSentence:
        """Lay out a sentence that follows a reference: without the system turn but its end.

        This ``<|im_end|>`` takes the place of the one of the reference, which a training example
        leaves out.
        """
        return replace(sentence, ids=tuple(ids[self.num_system :] for ids in sentence.ids))

    def text_range(self, sentence: TokenizedSentence) -> slice:
        """Find the text in the tokens of a sentence."""
        is_continuing = sentence.ids[0][0] == self.end_id
        num_before = self.num_before_text - (self.num_system if is_continuing else 0)
        num_after = sentence.codes.shape[1] + self.num_after_text
        return slice(num_before, sentence.num_tokens - num_after)


class SequenceSampler:
    """Draws sequences of one to twenty sentences of one voice, of similar length.

    Sentences that would make a sequence longer than ``max_tokens`` are dropped from its end. The
    same seed and step give the same sequences.
    """

    def __init__(
        self,
        voices: list[list[TokenizedSentence]],
        *,
        shares: NDArray[np.float64],
        curriculum_steps: int,
        shape: PromptShape,
        max_tokens: int,
        seed: int,
    ) -> None:
        """Take the sentences of each voice and the probability of each voice.

        Sentences of more than ``max_tokens`` are left out. Each voice needs a shorter one.
        """
        self.voices = [
            sorted((s for s in voice if s.num_tokens <= max_tokens), key=lambda s: s.num_tokens)
            for voice in voices
        ]
        self.shares, self.shape = shares, shape
        self.curriculum_steps, self.max_tokens, self.seed = curriculum_steps, max_tokens, seed

    def sequences(self, step: int, num_frames: int) -> list[list[TokenizedSentence]]:
        """Draw sequences of about ``num_frames`` frames together."""
        rng = np.random.default_rng((self.seed, step))
        length = int(rng.choice(SENTENCE_COUNTS))
        known = min(1.0, SHORTEST_SHARE + (1 - SHORTEST_SHARE) * step / self.curriculum_steps)
        drawn: list[list[TokenizedSentence]] = []
        # Draw twice as many as needed: a half of the sorted sequences has similar lengths.
        while sum(s.codes.shape[1] for sequence in drawn for s in sequence) < 2 * num_frames:
            voice = self.voices[rng.choice(len(self.voices), p=self.shares)]
            num_known = max(1, int(known * len(voice)))
            sequence = [voice[i] for i in rng.integers(num_known, size=length)]
            if rng.random() < REFERENCE_SHARE:
                sequence[1:] = map(self.shape.continuing, sequence[1:])
            ends = accumulate(sentence.num_tokens for sentence in sequence)
            drawn.append(
                [s for s, end in zip(sequence, ends, strict=True) if end <= self.max_tokens]
            )
        drawn.sort(key=lambda sequence: sum(s.num_tokens for s in sequence))
        half = (len(drawn) + 1) // 2
        start = int(rng.integers(len(drawn) - half + 1))
        return drawn[start : start + half]


def collate(
    sequences: list[list[TokenizedSentence]], *, padding_id: int, code_label_share: float = 1.0
) -> Batch:
    """Build a batch of sequences. Draw with torch the positions that keep their code labels."""
    examples = []
    for sequence in sequences:
        pairs = [training_example(sentence) for sentence in sequence]
        examples.append(
            (
                np.concatenate([tokens for tokens, _ in pairs], axis=1),
                np.concatenate([labels for _, labels in pairs], axis=1),
            )
        )
    inputs, labels = pad_sequences(examples, padding_id=padding_id)
    if code_label_share < 1:
        left_out = torch.rand(labels[:, 0].shape) >= code_label_share
        labels[:, 1:].transpose(0, 2, 1)[left_out.numpy()] = IGNORED_LABEL
    return batch_of(inputs, labels)


def diagonal_log_weights(
    sequences: list[list[TokenizedSentence]], shape: PromptShape, *, spread: float
) -> Tensor:
    """Compute where in its text each frame of speech is, if all characters are equally long.

    Args:
        sequences: Sentences of each sequence.
        shape: Shape of their prompts.
        spread: Standard deviation of the Gaussian around the position, in tokens of text.

    Returns:
        ``(batch, tokens, tokens)``. Rows of tokens that predict a frame or the end of the speech
        hold the logarithm of the Gaussian at the tokens of the text. All else is -inf.
    """
    num_tokens = max(sum(s.num_tokens for s in sequence) for sequence in sequences)
    weights = torch.full((len(sequences), num_tokens, num_tokens), -torch.inf)
    for of_sequence, sequence in zip(weights, sequences, strict=True):
        start = 0
        for sentence in sequence:
            end = start + sentence.num_tokens
            voice = end - sentence.codes.shape[1] - 1
            text = shape.text_range(sentence)
            num_text_tokens = text.stop - text.start
            of_sequence[voice:end, start + text.start : start + text.stop] = _gaussians(
                end - voice, num_text_tokens, spread
            )
            start = end
    return weights


def _gaussians(num_frames: int, num_text_tokens: int, spread: float) -> Tensor:
    positions = (torch.arange(num_frames) + 0.5) / num_frames * num_text_tokens
    distances = torch.arange(num_text_tokens) + 0.5 - positions.unsqueeze(1)
    return -0.5 * (distances / spread).square()
