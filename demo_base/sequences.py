"""Which sentences a training step of the dual-AR model sees, and where in them text and speech lie.

Knows tokenized sentences, not the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from demo_base.prompts import HUMAN_VOICES
from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import TokenizedSentence, training_example
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.tokenizer import Tokenizer

SENTENCE_COUNTS = (1,) * 11 + (2, 2, 6, 6, 20)
"""In a sequence: the first are to those after them what a reference is in generation, and
fine-tuning fills its sequences with sentences."""
SHORTEST_SHARE = 0.15
"""Of the sentences, with which training begins: short ones show where in the text one is."""


@dataclass(frozen=True)
class PromptShape:
    """How many tokens stand around a sentence's text, the same in every prompt."""

    num_before_text: int
    num_after_text: int
    """Up to and with ``<|voice|>``."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "PromptShape":
        """Look where two texts of one token each begin to differ, and where they end to."""
        first, second = (
            generation_prompt(tokenizer, text, num_codebooks=1)[0] for text in ("a", "b")
        )
        (place,) = np.flatnonzero(first != second)
        return cls(int(place), len(first) - int(place) - 1)


def sorted_by_length(sentences: list[TokenizedSentence]) -> list[TokenizedSentence]:
    """Put the shortest first."""
    return sorted(sentences, key=lambda sentence: sentence.num_tokens)


def voice_shares(num_sentences: Mapping[str, int], *, human_share: float) -> list[float]:
    """Say how often each voice is drawn: as it has sentences, people ``human_share`` together.

    Args:
        num_sentences: Of each voice; at least one of a person and one of a machine.
        human_share: 0 to 1. People have far fewer recordings than a machine can speak.
    """
    human = np.array([voice in HUMAN_VOICES for voice in num_sentences])
    counts = np.array(list(num_sentences.values()), dtype=float)
    counts[human] *= human_share / counts[human].sum()
    counts[~human] *= (1 - human_share) / counts[~human].sum()
    return counts.tolist()


class SequenceSampler:
    """Draws sequences of one to twenty sentences of one voice, of like length.

    A voice is drawn as often as its share says. Sentences that would make a sequence longer than
    ``max_tokens`` are left off its end. The same seed and step give the same sequences.
    """

    def __init__(
        self,
        voices: list[list[TokenizedSentence]],
        *,
        shares: list[float],
        curriculum_steps: int,
        max_tokens: int,
        seed: int,
    ) -> None:
        self.voices = [sorted_by_length(voice) for voice in voices]
        self.curriculum_steps, self.max_tokens, self.seed = curriculum_steps, max_tokens, seed
        self.shares = shares

    def sequences(self, step: int, num_frames: int) -> list[list[TokenizedSentence]]:
        """Draw sequences that hold about so many frames together."""
        rng = np.random.default_rng((self.seed, step))
        length = int(rng.choice(SENTENCE_COUNTS))
        known = min(1.0, SHORTEST_SHARE + (1 - SHORTEST_SHARE) * step / self.curriculum_steps)
        drawn: list[list[TokenizedSentence]] = []
        # Twice as many as needed: a window of the sorted ones is of like length.
        while sum(s.codes.shape[1] for sequence in drawn for s in sequence) < 2 * num_frames:
            voice = self.voices[rng.choice(len(self.voices), p=self.shares)]
            sequence = [voice[i] for i in rng.integers(known * len(voice), size=length)]
            ends = accumulate(sentence.num_tokens for sentence in sequence)
            drawn.append(
                [s for s, end in zip(sequence, ends, strict=True) if end <= self.max_tokens]
            )
        drawn.sort(key=lambda sequence: sum(s.num_tokens for s in sequence))
        half = (len(drawn) + 1) // 2
        start = int(rng.integers(len(drawn) - half + 1))
        return drawn[start : start + half]


def collate(sequences: list[list[TokenizedSentence]], *, padding_id: int) -> Batch:
    """Lay sequences out as inputs and labels."""
    examples = []
    for sequence in sequences:
        parts = [training_example(sentence) for sentence in sequence]
        tokens = np.concatenate([tokens for tokens, _ in parts], axis=1)
        examples.append((tokens, np.concatenate([labels for _, labels in parts], axis=1)))
    return collate_sequences(examples, padding_id=padding_id)


def diagonal_log_weights(
    sequences: list[list[TokenizedSentence]], shape: PromptShape, *, spread: float
) -> Tensor:
    """Say where in its text each frame of speech is, if every character took as long.

    Args:
        sequences: Of sentences.
        shape: Of their prompts.
        spread: Standard deviation, in tokens of text, of the bell around the place.

    Returns:
        ``(batch, tokens, tokens)``: in the row of the token before a frame, or before the end
        of the speech, the bell's logarithm over the tokens of the text and -inf elsewhere; in
        rows before other tokens only -inf.
    """
    num_tokens = max(sum(s.num_tokens for s in sequence) for sequence in sequences)
    weights = torch.full((len(sequences), num_tokens, num_tokens), -torch.inf)
    for of_sequence, sequence in zip(weights, sequences, strict=True):
        start = 0
        for sentence in sequence:
            end = start + sentence.num_tokens
            voice = end - sentence.codes.shape[1] - 1
            text = slice(start + shape.num_before_text, voice + 1 - shape.num_after_text)
            of_sequence[voice:end, text] = _bells(end - voice, text.stop - text.start, spread)
            start = end
    return weights


def _bells(num_frames: int, num_text_tokens: int, spread: float) -> Tensor:
    places = (torch.arange(num_frames) + 0.5) / num_frames * num_text_tokens
    distances = torch.arange(num_text_tokens) + 0.5 - places.unsqueeze(1)
    return -0.5 * (distances / spread).square()
