"""One sentence as a training example: tokens and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fishdvc.text.prompt import Codes, speech_prompt
from fishdvc.text.tokenizer import Tokenizer

IGNORED_LABEL = -100


class LabelCounts(NamedTuple):
    """Numbers of labels of a sentence or a batch, or their means over several batches."""

    tokens: float
    """Labels of the next token."""
    codes: float
    """Labels of codes."""
    ranked_codes: float
    """Labels of codes other than 0. Code 0 is left out because it also means no code."""


@dataclass(frozen=True, eq=False)
class TokenizedSentence:
    """A sentence's prompt in compact form: row 0 and the codes, without the zeros around them.

    Attributes:
        ids: Row 0 of the whole prompt, ``(prompt tokens,)``, for each of its alternative texts.
        codes: ``(num_codebooks, frames)``. They end at the prompt's last column but one.
    """

    ids: tuple[NDArray[np.int32], ...]
    codes: NDArray[np.uint16]

    @property
    def num_tokens(self) -> int:
        """Length as a training example with the longest text: one less than the prompt's."""
        return max(len(ids) for ids in self.ids) - 1

    @property
    def label_counts(self) -> LabelCounts:
        """Numbers of labels as a training example, which do not depend on the text."""
        num_codebooks, num_frames = self.codes.shape
        return LabelCounts(
            tokens=num_frames + 2,
            codes=num_codebooks * (num_frames + 1),
            ranked_codes=int(np.count_nonzero(self.codes)),
        )


def tokenize_sentence(
    tokenizer: Tokenizer, texts: Sequence[str], codes: Codes
) -> TokenizedSentence:
    """Tokenize a sentence with one or several alternative texts. See ``speech_prompt``."""
    return TokenizedSentence(
        ids=tuple(speech_prompt(tokenizer, text, codes)[0] for text in texts),
        codes=codes.astype(np.uint16),
    )


def training_example(
    sentence: TokenizedSentence, text_index: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay out inputs and labels: the prompt without its last column, and without its first.

    The labels are the speech: ``<|voice|>``, the semantic ids and ``<|im_end|>`` in row 0, and the
    codes in the other rows. Below the label ``<|im_end|>`` the labels are 0 and not ignored, as in
    the reference implementation. All other labels are ignored.

    Returns:
        Tokens and labels, each int64 ``(1 + num_codebooks, tokens)``; ignored labels are -100.
    """
    ids, codes = sentence.ids[text_index], sentence.codes
    prompt = np.zeros((1 + len(codes), len(ids)), dtype=np.int64)
    prompt[0] = ids
    prompt[1:, -1 - codes.shape[1] : -1] = codes
    tokens, labels = prompt[:, :-1], prompt[:, 1:].copy()
    voice = labels.shape[1] - codes.shape[1] - 2
    labels[0, :voice] = IGNORED_LABEL
    labels[1:, : voice + 1] = IGNORED_LABEL
    return tokens, labels
