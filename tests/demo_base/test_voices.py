import pytest

from demo_base.recipe.voices import spoken_texts, voice_shares


def test_comments_and_described_sounds_are_not_texts() -> None:
    lines = ["; remarks: none", "", "beep: [a tone]", "silence/1:", "digits/1: one", "name:  a: b "]
    assert spoken_texts(lines) == [("digits/1", "one"), ("name", "a: b")]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"slt": 300, "june-fr": 1, "rms": 100, "carlo-it": 3}, [0.6, 0.05, 0.2, 0.15]),
        ({"slt": 3, "rms": 1}, [0.75, 0.25]),
    ],
)
def test_human_voices_have_their_share_if_there_are_any(
    weights: dict[str, float], shares: list[float]
) -> None:
    assert voice_shares(weights, human_share=0.2).tolist() == pytest.approx(shares)
