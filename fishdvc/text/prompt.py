"""Prompts: turns of text and codes, laid out as the model reads them.

A prompt is an int32 array ``(1 + num_codebooks, tokens)``. Row 0 holds token ids; where there is
speech, the id of ``<|semantic:c|>`` with ``c`` the code of codebook 0. The other rows hold the
codes at these positions, and 0 elsewhere.

The turns, without line ends between them, each quoted part tokenized separately::

    <|im_start|> "system\\n"    "Speak out the provided text."  <|im_end|>
    <|im_start|> "user\\n"      the cleaned text                <|im_end|>
    <|im_start|> "assistant\\n" <|voice|> speech                <|im_end|>
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishdvc.text.clean import clean_text
from fishdvc.text.tokenizer import Tokenizer

SYSTEM_TEXT = "Speak out the provided text."

Prompt = NDArray[np.int32]
Codes = NDArray[np.integer[Any]]


def speech_prompt(tokenizer: Tokenizer, text: str, codes: Codes) -> Prompt:
    """Lay out a sentence for training: system turn, text, speech.

    Args:
        tokenizer: Tokenizer of the base model.
        text: Transcript, cleaned here. Special tokens that it spells are plain text.
        codes: ``(num_codebooks, frames)``, values 0 to ``tokenizer.num_semantic - 1``.

    Returns:
        ``(1 + num_codebooks, tokens)``. The last column is ``<|im_end|>``; the ``frames`` columns
        before it are the speech.
    """
    system = _text_columns(_text_turn(tokenizer, "system", SYSTEM_TEXT), len(codes))
    return np.concatenate([system, _speech_turns(tokenizer, text, codes)], axis=1)


def generation_prompt(
    tokenizer: Tokenizer,
    text: str,
    references: Sequence[tuple[str, Codes]] = (),
    *,
    num_codebooks: int,
) -> Prompt:
    """Lay out a prompt that the model continues with the speech of a text.

    As in training, the prompt begins with the system turn, with and without references.

    Args:
        tokenizer: Tokenizer of the base model.
        text: Text to speak, cleaned here.
        references: Clips of the voice to speak in: transcript and codes of each, as for
            ``speech_prompt``.
        num_codebooks: Number of codebooks of the model.

    Returns:
        ``(1 + num_codebooks, tokens)``. The last column is ``<|voice|>``.
    """
    parts = [
        _text_columns(_text_turn(tokenizer, "system", SYSTEM_TEXT), num_codebooks),
        *(_speech_turns(tokenizer, *reference) for reference in references),
        _text_columns(_before_speech(tokenizer, text), num_codebooks),
    ]
    return np.concatenate(parts, axis=1)


def _text_turn(tokenizer: Tokenizer, role: str, text: str) -> list[int]:
    ids = [*tokenizer.encode_plain(f"{role}\n"), *tokenizer.encode_plain(text)]
    return [tokenizer.im_start_id, *ids, tokenizer.im_end_id]


def _before_speech(tokenizer: Tokenizer, text: str) -> list[int]:
    role_ids = tokenizer.encode_plain("assistant\n")
    user_turn = _text_turn(tokenizer, "user", clean_text(text))
    return [*user_turn, tokenizer.im_start_id, *role_ids, tokenizer.voice_id]


def _speech_turns(tokenizer: Tokenizer, text: str, codes: Codes) -> Prompt:
    before = _before_speech(tokenizer, text)
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
