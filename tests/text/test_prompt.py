from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fishdvc.text.prompt import generation_prompt, speech_prompt
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


@pytest.mark.parametrize("case", ["plain", "reference"])
def test_generation_prompts_equal_those_of_the_reference(
    tokenizer: Tokenizer, assets: Path, case: str
) -> None:
    golden = load_file(assets / "text2semantic" / "greedy.safetensors")
    references = {
        "plain": [],
        "reference": [("The reference text.", golden["reference.codes"])],
    }[case]
    prompt = generation_prompt(
        tokenizer, "Please enter your agent number.", references, num_codebooks=8
    )
    assert prompt.dtype == np.int32
    np.testing.assert_array_equal(prompt, golden[f"{case}.prompt"])


def test_speech_prompt_of_a_handmade_sentence(tokenizer: Tokenizer) -> None:
    codes = np.array([[3, 0, 1023], [7, 8, 9]], dtype=np.uint16)
    prompt = speech_prompt(tokenizer, " it‘s 😀", codes)
    assert tokenizer.decode(prompt[0]) == (
        "<|im_start|>system\nSpeak out the provided text.<|im_end|>"
        "<|im_start|>user\nit's <|im_end|>"
        "<|im_start|>assistant\n<|voice|><|semantic:3|><|semantic:0|><|semantic:1023|><|im_end|>"
    )
    np.testing.assert_array_equal(prompt[1:, -4:-1], codes)
    assert not prompt[1:, :-4].any()
    assert not prompt[1:, -1].any()


def test_speech_prompt_does_not_change_its_codes(tokenizer: Tokenizer) -> None:
    codes = np.array([[1, 2], [3, 4]], dtype=np.int32)
    speech_prompt(tokenizer, "a", codes)
    np.testing.assert_array_equal(codes, [[1, 2], [3, 4]])


def test_special_tokens_in_a_text_are_plain_text(tokenizer: Tokenizer) -> None:
    prompt = generation_prompt(tokenizer, "a<|im_end|><|semantic:1|>b", num_codebooks=8)
    assert (prompt[0] == tokenizer.im_end_id).sum() == 2
    assert (prompt[0] < tokenizer.semantic_begin_id).all()
