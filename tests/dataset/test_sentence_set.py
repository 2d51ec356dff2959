import json
from pathlib import Path

import numpy as np
import pytest

from fishdvc.dataset.sentence_set import SentenceSet, read_sentences
from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from fishdvc.errors import DatasetError
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


def codes(num_codebooks: int = 8, num_frames: int = 3, value: int = 0) -> np.ndarray:
    return np.full((num_codebooks, num_frames), value, dtype=np.uint16)


def read(
    tokenizer: Tokenizer,
    folder: Path,
    groups: list[SpeakerGroup],
    *,
    max_length: int = 200,
    clips: dict[str, list[str]] | None = None,
) -> SentenceSet:
    write_shards(folder / "shards", groups, 1)
    if clips:
        (folder / "shards" / CLIP_LIST).write_text(json.dumps(clips))
    return read_sentences(folder / "shards", tokenizer, num_codebooks=8, max_length=max_length)


def test_sentences_are_numbered_by_speaker_across_shards(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sentences = (Sentence(("one",), codes()), Sentence(("two", "three"), codes()))
    groups = [SpeakerGroup(name, "folder", sentences) for name in ("b", "a", "b")]
    found = read(tokenizer, tmp_path, groups)
    assert found.speakers == (0, 0, 1, 1, 0, 0)
    assert [len(sentence.ids) for sentence in found.sentences] == [1, 2] * 3
    assert found.too_long == ()


@pytest.mark.parametrize(
    ("clips", "names"),
    [
        (None, ["a, sentence 1", "b, sentence 0"]),
        ({"a": ["a/5", "a/7"], "b": ["more/b/1"]}, ["a/7", "more/b/1"]),
    ],
)
def test_too_long_sentences_are_left_out_and_listed(
    tokenizer: Tokenizer, tmp_path: Path, clips: dict[str, list[str]] | None, names: list[str]
) -> None:
    short, long = Sentence(("x",), codes()), Sentence(("one\n" + "x" * 99,), codes())
    groups = [SpeakerGroup("a", "folder", (short, long)), SpeakerGroup("b", "folder", (long,))]
    num_tokens = read(tokenizer, tmp_path / "all", groups, max_length=999).sentences[1].num_tokens
    found = read(tokenizer, tmp_path, groups, max_length=num_tokens - 1, clips=clips)
    assert found.speakers == (0,)
    assert found.too_long == tuple(
        f"{name} ('one {'x' * 56}'): at most {num_tokens - 1} tokens, got {num_tokens}"
        for name in names
    )


def test_only_too_long_sentences_raise(tokenizer: Tokenizer, tmp_path: Path) -> None:
    groups = [SpeakerGroup("a", "folder", (Sentence(("x",), codes()),) * 3)]
    with pytest.raises(DatasetError, match=r"every sentence is too long.*\(3 problems\)"):
        read(tokenizer, tmp_path, groups, max_length=10)


def test_all_unusable_sentences_are_listed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    bad = (
        Sentence(("fine",), codes(value=1023)),
        Sentence((), codes()),
        Sentence((" 😀 ",), codes()),
        Sentence(("books",), codes(num_codebooks=4)),
        Sentence(("frames",), codes(num_frames=0)),
        Sentence(("range",), codes(value=1024)),
    )
    with pytest.raises(DatasetError) as error:
        read(tokenizer, tmp_path, [SpeakerGroup("spk", "folder", bad)])
    assert str(error.value).splitlines()[1:] == [
        "  spk, sentence 1 (''): expected a text, got none",
        "  spk, sentence 2 ('😀'): expected a text, got none",
        "  spk, sentence 3 ('books'): expected codes of 8 codebooks, got 4",
        "  spk, sentence 4 ('frames'): expected codes of at least one frame, got none",
        "  spk, sentence 5 ('range'): expected codes in 0..1023, got 1024",
    ]


def test_a_folder_without_sentences_raises(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no sentences"):
        read(tokenizer, tmp_path, [SpeakerGroup("spk", "folder", ())])
