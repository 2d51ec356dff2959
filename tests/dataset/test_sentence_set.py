import json
from pathlib import Path

import numpy as np
import pytest

from fishdvc.dataset.sentence_set import SentenceSet, read_sentences
from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from fishdvc.errors import DatasetError
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer

CODES = np.zeros((8, 3), dtype=np.uint16)
SHORT, LONG = Sentence(("x", "y"), CODES), Sentence(("one\n" + "x" * 99,), CODES)
SPEAKERS = {"b": (SHORT, LONG), "a": (LONG,), "c": (SHORT,)}
CLIPS = {"b": ["b/5", "b/7"], "a": ["more/a/1"], "c": ["c/1"]}


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


def read(tokenizer: Tokenizer, folder: Path, max_length: int) -> SentenceSet:
    groups = [SpeakerGroup(name, "folder", sentences) for name, sentences in SPEAKERS.items()]
    write_shards(folder / "shards", groups, 1)
    (folder / "shards" / CLIP_LIST).write_text(json.dumps(CLIPS))
    return read_sentences(folder / "shards", tokenizer, max_length=max_length)


def test_sentences_are_numbered_by_speaker_across_shards(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    found = read(tokenizer, tmp_path, 200)
    assert found.speakers == (0, 0, 1, 2)
    assert [len(sentence.ids) for sentence in found.sentences] == [2, 1, 1, 2]
    assert found.too_long == ()


def test_too_long_sentences_are_left_out_and_listed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    num_tokens = read(tokenizer, tmp_path / "all", 200).sentences[1].num_tokens
    found = read(tokenizer, tmp_path, num_tokens - 1)
    assert found.speakers == (0, 2)
    assert found.too_long == tuple(
        f"{name} ('one {'x' * 56}'): expected at most {num_tokens - 1} tokens, got {num_tokens}"
        for name in ("b/7", "more/a/1")
    )
    with pytest.raises(DatasetError, match=r"every sentence is too long.*\(4 problems\)"):
        read(tokenizer, tmp_path / "none", 10)


@pytest.mark.parametrize("content", [None, "", "[]", '{"b": 1}', '{"b": ["b/5"]}', "[" * 100_000])
def test_a_damaged_list_of_clips_is_an_error(
    content: str | None, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    read(tokenizer, tmp_path, 200)
    path = tmp_path / "shards" / CLIP_LIST
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=r"clips\.json: .*run build_protos again"):
        read_sentences(tmp_path / "shards", tokenizer, max_length=200)
