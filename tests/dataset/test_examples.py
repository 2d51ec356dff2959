from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fishdvc.dataset.examples import tokenize_sentence, training_example
from fishdvc.dataset.shards import read_shard
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


def test_examples_equal_those_of_the_reference(tokenizer: Tokenizer, assets: Path) -> None:
    golden = load_file(assets / "dataset_packed.safetensors")
    for group_index, group in enumerate(read_shard(assets / "dataset.protos")):
        for index, sentence in enumerate(group.sentences):
            tokenized = tokenize_sentence(tokenizer, sentence.texts, sentence.codes)
            tokens, labels = training_example(tokenized)
            assert tokens.shape[1] == labels.shape[1] == tokenized.num_tokens
            np.testing.assert_array_equal(tokens, golden.pop(f"{group_index}.{index}.tokens"))
            np.testing.assert_array_equal(labels, golden.pop(f"{group_index}.{index}.labels"))
    assert not golden


def test_a_handmade_example(tokenizer: Tokenizer) -> None:
    codes = np.array([[3, 4], [0, 9]], dtype=np.uint16)
    tokens, labels = training_example(tokenize_sentence(tokenizer, ["a"], codes))
    np.testing.assert_array_equal(tokens[:, -3:], [[1034, 1039, 1040], [0, 3, 4], [0, 0, 9]])
    np.testing.assert_array_equal(
        labels[:, -4:],
        [[1034, 1039, 1040, 1028], [-100, 3, 4, 0], [-100, 0, 9, 0]],
    )
    assert (labels[:, :-4] == -100).all()
    assert (tokens[1:, :-2] == 0).all()


def test_each_alternative_text_has_its_own_example(tokenizer: Tokenizer) -> None:
    codes = np.ones((8, 5), dtype=np.int64)
    sentence = tokenize_sentence(tokenizer, ["short", "a much longer text"], codes)
    for index, text in enumerate(["short", "a much longer text"]):
        alone = training_example(tokenize_sentence(tokenizer, [text], codes))
        np.testing.assert_array_equal(training_example(sentence, index), alone)
    assert sentence.num_tokens == training_example(sentence, 1)[0].shape[1]


@pytest.mark.parametrize("num_frames", [1, 7])
def test_label_counts_are_those_of_the_example(tokenizer: Tokenizer, num_frames: int) -> None:
    codes = np.arange(8 * num_frames).reshape(8, num_frames) % 5
    sentence = tokenize_sentence(tokenizer, ["text"], codes)
    _, labels = training_example(sentence)
    expected = ((labels[0] != -100).sum(), (labels[1:] != -100).sum(), (labels[1:] > 0).sum())
    assert sentence.label_counts == expected
