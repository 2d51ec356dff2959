import pytest

from demo_base.recipe.evaluate import cer_differences
from demo_base.recipe.metrics import error_rates, sentence_error_rates


def test_a_number_in_figures_is_wrong_as_written_and_right_as_spoken() -> None:
    texts, transcripts = ["Fifteen, two."], ["15, 2."]
    assert error_rates(texts, transcripts)["wer"] == 1
    assert sentence_error_rates(texts, transcripts) == [0]


def test_a_transcript_that_repeats_itself_outweighs_others_only_as_written() -> None:
    texts = ["Call Joseph now.", "Thank you very much."]
    transcripts = ["Call Jo" + "f" * 200, "Thank you very much!"]
    rates = error_rates(texts, transcripts)
    assert rates["cer"] > 5
    assert sentence_error_rates(texts, transcripts) == [1, 0]
    assert rates["sentence_cer"] == pytest.approx(0.5)


def test_rates_of_known_differences() -> None:
    rates = error_rates(["the cat sat"], ["The bat sat"])
    assert rates["wer"] == pytest.approx(1 / 3)
    assert rates["cer"] == rates["median_cer"] == pytest.approx(1 / 11)
    assert rates["sentence_cer"] == pytest.approx(1 / 9)


def test_differences_are_of_the_same_texts() -> None:
    before = {"wer": 0.3, "sentence_cers": [0.5, 0.0], "sentence_cers_base": [0.0, 0.25]}
    after = {"wer": 0.2, "sentence_cers": [1.0, 0.0], "sentence_cers_base": [0.0, 0.0]}
    assert cer_differences(before, after) == {
        "sentence_cer": 0.25,
        "sentence_cer_interval": [0.0, 0.5],
        "sentence_cer_base": -0.125,
        "sentence_cer_base_interval": [-0.25, 0.0],
    }
