"""Read all sentences of a folder of shards: check them, tokenize them, and keep them in memory."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.dataset.shards import CLIP_LIST, Sentence, read_shards
from fishdvc.errors import DatasetError, list_problems
from fishdvc.text.clean import is_speakable
from fishdvc.text.tokenizer import Tokenizer

_NAMED_CHARACTERS = 60


@dataclass(frozen=True, eq=False)
class SentenceSet:
    """Sentences in the order of the shards.

    Attributes:
        sentences: The sentences of at most ``max_length`` tokens.
        speakers: Speaker of each, numbered in order of appearance.
        too_long: One line for each longer sentence: its clip, text and length.
    """

    sentences: tuple[TokenizedSentence, ...]
    speakers: tuple[int, ...]
    too_long: tuple[str, ...]


def read_sentences(
    folder: Path, tokenizer: Tokenizer, *, num_codebooks: int, max_length: int
) -> SentenceSet:
    """Read, check and tokenize all sentences of a folder of shards.

    Args:
        folder: Folder of shards. Problems name clips by its list of clips; without a list, by
            speaker and position from 0.
        tokenizer: Tokenizer of the base model.
        num_codebooks: Number of codebooks of the model.
        max_length: Maximum number of tokens of a sentence as a training example.

    Raises:
        DatasetError: Shards are missing or damaged, sentences cannot be trained on (all of them
            are listed), or no sentence is short enough.
    """
    clip_list = folder / CLIP_LIST
    clips = json.loads(clip_list.read_text(encoding="utf-8")) if clip_list.is_file() else {}
    speakers: dict[str, int] = {}
    positions: Counter[str] = Counter()
    fitting: list[tuple[TokenizedSentence, int]] = []
    too_long, problems = [], []
    for group in read_shards(folder):
        speaker = speakers.setdefault(group.name, len(speakers))
        for sentence in group.sentences:
            position = positions[group.name]
            positions[group.name] += 1
            clip = clips[group.name][position] if clips else f"{group.name}, sentence {position}"
            text = " ".join(" ".join(sentence.texts[:1]).split())[:_NAMED_CHARACTERS]
            name = f"{clip} ({text!r})"
            if found := list(_problems(sentence, num_codebooks, tokenizer.num_semantic)):
                problems += [f"{name}: {problem}" for problem in found]
                continue
            tokenized = tokenize_sentence(tokenizer, sentence.texts, sentence.codes)
            if tokenized.num_tokens > max_length:
                too_long.append(f"{name}: at most {max_length} tokens, got {tokenized.num_tokens}")
            else:
                fitting.append((tokenized, speaker))
    if problems:
        raise DatasetError(
            list_problems(f"{folder}: unusable sentences; run build_protos again", problems)
        )
    if not fitting and too_long:
        summary = f"{folder}: every sentence is too long; increase max_length"
        raise DatasetError(list_problems(summary, too_long))
    if not fitting:
        raise DatasetError(f"{folder}: no sentences; run build_protos again")
    sentences, speaker_numbers = zip(*fitting, strict=True)
    return SentenceSet(sentences, speaker_numbers, tuple(too_long))


def _problems(sentence: Sentence, num_codebooks: int, codebook_size: int) -> Iterator[str]:
    codes = sentence.codes
    if not sentence.texts or not all(map(is_speakable, sentence.texts)):
        yield "expected a text, got none"
    if len(codes) != num_codebooks:
        yield f"expected codes of {num_codebooks} codebooks, got {len(codes)}"
    if codes.shape[1] == 0:
        yield "expected codes of at least one frame, got none"
    elif codes.max(initial=0) >= codebook_size:
        yield f"expected codes in 0..{codebook_size - 1}, got {codes.max()}"
