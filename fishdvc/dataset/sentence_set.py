"""All sentences of a folder of shards: checked, tokenized once, kept in little memory.

Knows nothing of epochs, sequences or batches. Needs no torch.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.dataset.shards import Sentence, read_shards
from fishdvc.errors import DatasetError, list_problems
from fishdvc.text.clean import clean_text
from fishdvc.text.tokenizer import Tokenizer

CLIP_LIST = "clips.json"
"""Beside the shards: ``{speaker: [clip, ...]}``, clips in the order of the shards' sentences."""
_NAMED_CHARACTERS = 60


@dataclass(frozen=True, eq=False)
class SentenceSet:
    """Sentences and what is known of each, in the order of the shards.

    Attributes:
        sentences: The sentences.
        num_tokens: Length of each as a training example, with its longest text.
        speakers: Speaker of each, numbered in order of appearance.
        names: How to name each to a user: the clip, where the folder has a list of clips, for a
            shard has none; otherwise the speaker and the place among the speaker's sentences from
            0. Both with the beginning of the text.
    """

    sentences: tuple[TokenizedSentence, ...]
    num_tokens: tuple[int, ...]
    speakers: tuple[int, ...]
    names: tuple[str, ...]


def read_sentences(
    folder: str | Path, tokenizer: Tokenizer, *, num_codebooks: int, codebook_size: int
) -> SentenceSet:
    """Read, check and tokenize all sentences of a folder of shards.

    Args:
        folder: Holds the shards.
        tokenizer: The base model's.
        num_codebooks: The number of codebooks of the model.
        codebook_size: Codes must be below it.

    Raises:
        DatasetError: A shard is missing or damaged, or sentences cannot be trained on; names them.
    """
    if codebook_size > tokenizer.num_semantic:
        raise DatasetError(
            f"codebook_size: at most the tokenizer's {tokenizer.num_semantic} semantic tokens, "
            f"got {codebook_size}; take model and tokenizer from one folder"
        )
    sentences, speakers, names, problems = [], [], [], []
    clips = _read_clip_list(Path(folder))
    speaker_numbers: dict[str, int] = {}
    num_of_speaker: Counter[str] = Counter()
    for group in read_shards(folder):
        speaker = speaker_numbers.setdefault(group.name, len(speaker_numbers))
        for sentence in group.sentences:
            place = num_of_speaker[group.name]
            clip = clips.get((group.name, place), f"{group.name}, sentence {place}")
            name = _name(clip, sentence.texts)
            num_of_speaker[group.name] += 1
            if found := list(_problems(sentence, num_codebooks, codebook_size)):
                problems += [f"{name}: {problem}" for problem in found]
                continue
            sentences.append(tokenize_sentence(tokenizer, sentence.texts, sentence.codes))
            speakers.append(speaker)
            names.append(name)
    if problems:
        raise DatasetError(
            list_problems(f"{folder}: unusable sentences; build the shards anew", problems)
        )
    if not sentences:
        raise DatasetError(f"{folder}: sentences, got none; build the shards anew")
    return SentenceSet(
        sentences=tuple(sentences),
        num_tokens=tuple(sentence.num_tokens for sentence in sentences),
        speakers=tuple(speakers),
        names=tuple(names),
    )


def _read_clip_list(folder: Path) -> dict[tuple[str, int], str]:
    """Read the names of clips by speaker and place; none where there is no list."""
    path = folder / CLIP_LIST
    speakers = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        (speaker, place): clip
        for speaker, clips in speakers.items()
        for place, clip in enumerate(clips)
    }


def _name(clip: str, texts: tuple[str, ...]) -> str:
    text = " ".join(texts[0].split())[:_NAMED_CHARACTERS] if texts else ""
    return f"{clip} ({text!r})"


def _problems(sentence: Sentence, num_codebooks: int, codebook_size: int) -> Iterable[str]:
    codes = sentence.codes
    if not sentence.texts or not all(clean_text(text).strip() for text in sentence.texts):
        yield "a text, got none"
    if len(codes) != num_codebooks:
        yield f"codes of {num_codebooks} codebooks, got {len(codes)}"
    if codes.shape[1] == 0:
        yield "codes of one frame or more, got none"
    elif codes.max(initial=0) >= codebook_size:
        yield f"codes in 0..{codebook_size - 1}, got {codes.max()}"
