"""Prompts: turns of text and codes, laid out as the model reads them.

A prompt is an int32 array ``(1 + num_codebooks, tokens)``. Row 0 holds token ids, and where there
is speech the id of ``<|semantic:c|>`` with ``c`` the code of codebook 0. The other rows hold the
codes at those places, and 0 elsewhere. Knows nothing of labels, files or the model.

The turns, without a line end between them, each quoted part tokenized separately::

    <|im_start|> "system\\n"    "Speak out the provided text."  <|im_end|>
    <|im_start|> "user\\n"      the cleaned text                <|im_end|>
    <|im_start|> "assistant\\n" <|voice|> speech                <|im_end|>
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishdvc.errors import DatasetError
from fishdvc.text.clean import clean_text
from fishdvc.text.tokenizer import Tokenizer

SYSTEM_TEXT = "Speak out the provided text."

Prompt = NDArray[np.int32]
Codes = NDArray[np.integer[Any]]


def speech_prompt(tokenizer: Tokenizer, text: str, codes: Codes) -> Prompt:
    """Lay out one sentence for training: system turn, its text, its speech.

    Args:
        tokenizer: The base model's.
        text: The transcript; it is cleaned here, and special tokens spelled in it mean nothing.
        codes: ``(num_codebooks, frames)``, values 0 to ``tokenizer.num_semantic - 1``.

    Returns:
        ``(1 + num_codebooks, tokens)``; the speech is the last ``frames`` columns but one.

    Raises:
        DatasetError: The codes have another shape or range.
    """
    _check_codes(tokenizer, codes, codes.shape[0] if codes.ndim else 0)
    system = _text_columns(_system_turn(tokenizer), num_codebooks=codes.shape[0])
    return np.concatenate([system, _speech_turns(tokenizer, text, codes)], axis=1)


def generation_prompt(
    tokenizer: Tokenizer,
    text: str,
    references: Sequence[tuple[str, Codes]] = (),
    *,
    num_codebooks: int,
) -> Prompt:
    """Lay out what the model continues with the speech of a text.

    The system turn is there with and without references, as in training.

    Args:
        tokenizer: The base model's.
        text: The text to speak; cleaned here.
        references: Clips of the voice to speak in: transcript and codes
            ``(num_codebooks, frames)`` of each.
        num_codebooks: Of the model.

    Returns:
        ``(1 + num_codebooks, tokens)``; the last column is ``<|voice|>``.

    Raises:
        DatasetError: The codes of a reference have another shape or range.
    """
    for _, codes in references:
        _check_codes(tokenizer, codes, num_codebooks)
    open_turns = [*_user_turn(tokenizer, text), *_assistant_opening(tokenizer)]
    parts = [
        _text_columns(_system_turn(tokenizer), num_codebooks),
        *(_speech_turns(tokenizer, *reference) for reference in references),
        _text_columns(open_turns, num_codebooks),
    ]
    return np.concatenate(parts, axis=1)


def _turn_opening(tokenizer: Tokenizer, role: str) -> list[int]:
    return [tokenizer.im_start_id, *tokenizer.encode_plain(f"{role}\n")]


def _system_turn(tokenizer: Tokenizer) -> list[int]:
    text_ids = tokenizer.encode_plain(SYSTEM_TEXT)
    return [*_turn_opening(tokenizer, "system"), *text_ids, tokenizer.im_end_id]


def _user_turn(tokenizer: Tokenizer, text: str) -> list[int]:
    text_ids = tokenizer.encode_plain(clean_text(text))
    return [*_turn_opening(tokenizer, "user"), *text_ids, tokenizer.im_end_id]


def _assistant_opening(tokenizer: Tokenizer) -> list[int]:
    return [*_turn_opening(tokenizer, "assistant"), tokenizer.voice_id]


def _speech_turns(tokenizer: Tokenizer, text: str, codes: Codes) -> Prompt:
    """A user turn and the complete assistant turn that answers it."""
    before = [*_user_turn(tokenizer, text), *_assistant_opening(tokenizer)]
    prompt = np.zeros((1 + len(codes), len(before) + codes.shape[1] + 1), dtype=np.int32)
    prompt[0, : len(before)] = before
    prompt[0, len(before) : -1] = codes[0]
    prompt[0, len(before) : -1] += tokenizer.semantic_begin_id
    prompt[1:, len(before) : -1] = codes
    prompt[0, -1] = tokenizer.im_end_id
    return prompt


def _text_columns(ids: Sequence[int], num_codebooks: int) -> Prompt:
    prompt = np.zeros((1 + num_codebooks, len(ids)), dtype=np.int32)
    prompt[0] = ids
    return prompt


def _check_codes(tokenizer: Tokenizer, codes: Codes, num_codebooks: int) -> None:
    if codes.ndim != 2 or len(codes) != num_codebooks or codes.size == 0:
        raise DatasetError(
            f"codes of a prompt: ({num_codebooks or 'num_codebooks'}, frames), got {codes.shape}; "
            "extract them with the codec of this model"
        )
    if codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= tokenizer.num_semantic:
        raise DatasetError(
            f"codes of a prompt: whole numbers in 0..{tokenizer.num_semantic - 1}, got "
            f"{codes.min()}..{codes.max()} of {codes.dtype}; "
            "extract them with the codec of this model"
        )
