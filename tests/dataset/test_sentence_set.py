from pathlib import Path

import numpy as np
import pytest

from fishdvc.dataset.sentence_set import SentenceSet, read_sentences
from fishdvc.dataset.shards import Sentence, SpeakerGroup, write_shard
from fishdvc.errors import DatasetError
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


def read(folder: Path, tokenizer: Tokenizer) -> SentenceSet:
    return read_sentences(folder, tokenizer, num_codebooks=8, codebook_size=1000)


def test_sentences_are_named_by_speaker_place_and_text(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    codes = np.zeros((8, 3), dtype=np.uint16)
    for shard, speakers in (("0.protos", ["b", "a"]), ("1.protos", ["b"])):
        groups = [
            SpeakerGroup(
                name, "folder", (Sentence(("one\ntwo",), codes), Sentence(("x" * 99,), codes))
            )
            for name in speakers
        ]
        write_shard(tmp_path / shard, groups)
    sentences = read(tmp_path, tokenizer)
    assert sentences.speakers == (0, 0, 1, 1, 0, 0)
    assert sentences.names[0] == "b, sentence 0 ('one two')"
    assert sentences.names[3] == f"a, sentence 1 ('{'x' * 60}')"
    assert sentences.names[4] == "b, sentence 2 ('one two')"
    assert sentences.num_tokens == tuple(s.num_tokens for s in sentences.sentences)


def test_all_unusable_sentences_are_named_at_once(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def codes(num_codebooks: int, num_frames: int, value: int = 0) -> np.ndarray:
        return np.full((num_codebooks, num_frames), value, dtype=np.uint16)

    bad = (
        Sentence(("fine",), codes(8, 3, 999)),
        Sentence((), codes(8, 3)),
        Sentence((" 😀 ",), codes(8, 3)),
        Sentence(("books",), codes(4, 3)),
        Sentence(("frames",), codes(8, 0)),
        Sentence(("range",), codes(8, 3, 1000)),
    )
    write_shard(tmp_path / "0.protos", [SpeakerGroup("spk", "folder", bad)])
    with pytest.raises(DatasetError) as error:
        read(tmp_path, tokenizer)
    assert str(error.value).splitlines()[1:] == [
        "  spk, sentence 1 (''): a text, got none",
        "  spk, sentence 2 ('😀'): a text, got none",
        "  spk, sentence 3 ('books'): codes of 8 codebooks, got 4",
        "  spk, sentence 4 ('frames'): codes of one frame or more, got none",
        "  spk, sentence 5 ('range'): codes in 0..999, got 1000",
    ]


def test_a_folder_without_sentences_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got none"):
        read(tmp_path, tokenizer)
    write_shard(tmp_path / "0.protos", [SpeakerGroup("spk", "folder", ())])
    with pytest.raises(DatasetError, match="sentences, got none"):
        read(tmp_path, tokenizer)


def test_codes_must_have_semantic_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1024 semantic tokens, got 1025"):
        read_sentences(tmp_path, tokenizer, num_codebooks=8, codebook_size=1025)
