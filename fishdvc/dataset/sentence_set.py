"""Read and tokenize all sentences of a folder of shards, and keep them in memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.dataset.shards import CLIP_LIST, SpeakerGroup, read_shards
from fishdvc.errors import DatasetError, list_problems
from fishdvc.storage.small_files import read_small_file
from fishdvc.text.tokenizer import Tokenizer

_NAMED_CHARACTERS = 60
MAX_CLIP_LIST_BYTES = 10**8
"""The names of a million clips."""


@dataclass(frozen=True, eq=False)
class SentenceSet:
    """Sentences in the order of the shards.

    Attributes:
        sentences: The sentences of at most ``max_length`` tokens.
        speakers: Number of the speaker of each.
        too_long: One line for each longer sentence: its clip, text and length.
    """

    sentences: tuple[TokenizedSentence, ...]
    speakers: tuple[int, ...]
    too_long: tuple[str, ...]


def read_sentences(folder: Path, tokenizer: Tokenizer, *, max_length: int) -> SentenceSet:
    """Read and tokenize all sentences of a folder of shards.

    Args:
        folder: Shards with one group per speaker, and the list of their clips.
        tokenizer: Tokenizer of the base model.
        max_length: Maximum number of tokens of a sentence as a training example.

    Raises:
        DatasetError: Shards or their list of clips are missing or damaged, or no sentence is short
            enough.
    """
    groups = list(read_shards(folder))
    clips = read_clip_list(folder / CLIP_LIST, groups)
    fitting: list[tuple[TokenizedSentence, int]] = []
    too_long = []
    for speaker, group in enumerate(groups):
        for clip, sentence in zip(clips[group.name], group.sentences, strict=True):
            tokenized = tokenize_sentence(tokenizer, sentence.texts, sentence.codes)
            if tokenized.num_tokens <= max_length:
                fitting.append((tokenized, speaker))
                continue
            text = " ".join(sentence.texts[0].split())[:_NAMED_CHARACTERS]
            too_long.append(
                f"{clip} ({text!r}): expected at most {max_length} tokens, got "
                f"{tokenized.num_tokens}"
            )
    if not fitting:
        summary = f"{folder}: every sentence is too long; increase max_length"
        raise DatasetError(list_problems(summary, too_long))
    sentences, speaker_numbers = zip(*fitting, strict=True)
    return SentenceSet(sentences, speaker_numbers, tuple(too_long))


def read_clip_list(path: Path, groups: Sequence[SpeakerGroup]) -> dict[str, list[str]]:
    """Read the names of the clips of each speaker, in the order of the sentences.

    Raises:
        DatasetError: The list is missing or damaged, or does not fit the groups of the shards.
    """
    try:
        clips = json.loads(read_small_file(path, max_bytes=MAX_CLIP_LIST_BYTES))
        counts = {speaker: len(names) for speaker, names in clips.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DatasetError(f"cannot read {path}: {error}; run build_protos again") from error
    if counts != {group.name: len(group.sentences) for group in groups}:
        raise DatasetError(f"{path}: does not fit the shards; run build_protos again")
    return dict(clips)
