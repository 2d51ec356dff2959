"""One sentence as a training example: tokens and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishdvc.text.prompt import Codes, speech_prompt
from fishdvc.text.tokenizer import Tokenizer

IGNORED_LABEL = -100


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


def tokenize_sentence(
    tokenizer: Tokenizer, texts: Sequence[str], codes: Codes
) -> TokenizedSentence:
    """Tokenize a sentence.

    Args:
        tokenizer: Tokenizer of the base model.
        texts: The transcript, or several alternatives; at least one.
        codes: ``(num_codebooks, frames)``, values 0 to ``tokenizer.num_semantic - 1``.
    """
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

    Args:
        sentence: A sentence of ``num_tokens`` tokens.
        text_index: Index of the text to use.

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
