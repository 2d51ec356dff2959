"""Speaking rates of clips with right and wrong transcripts."""

import numpy as np
import pytest

from fishdvc.corpus.measured import LETTERS_PER_CLIP, compare_rates, spoken_letters


@pytest.mark.parametrize(
    ("text", "letters"),
    [("Hello, world!", 10), ("Room 42", 4 + 8), ("the PBX", 3 + 6), ("你好", 6), ("Élan", 4)],
)
def test_letters_are_counted_as_they_are_spoken(text: str, letters: int) -> None:
    assert spoken_letters(text) == LETTERS_PER_CLIP + letters


def test_two_swapped_transcripts_are_outliers_and_no_other_clip_is() -> None:
    rng = np.random.default_rng(0)
    letters = rng.uniform(20, 120, 60)
    letters[:2] = (30, 90)
    lengths_s = letters / 15 * np.exp(rng.normal(0, 0.12, 60))
    letters[[0, 1]] = letters[[1, 0]]
    ratios, deviations = compare_rates(letters / lengths_s)
    assert set(np.flatnonzero(np.abs(deviations) > 4)) == {0, 1}
    assert ratios[:2] == pytest.approx([3, 1 / 3], rel=0.3)


def test_small_differences_of_an_even_speaker_are_no_outliers() -> None:
    _, deviations = compare_rates([15.0] * 20 + [16.0])
    assert np.abs(deviations).max() < 1


def test_a_few_clips_do_not_show_the_usual_rate() -> None:
    _, deviations = compare_rates([15.0, 15.0, 90.0])
    assert not deviations.any()
