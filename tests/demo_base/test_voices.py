import pytest

from demo_base.recipe.voices import GroupShares, spoken_texts, voice_shares


def test_comments_and_described_sounds_are_not_texts() -> None:
    lines = ["; remarks: none", "", "beep: [a tone]", "silence/1:", "digits/1: one", "name:  a: b "]
    assert spoken_texts(lines) == [("digits/1", "one"), ("name", "a: b")]


SHARES = GroupShares(human=0.1, hibari=0.3, kokoro=0.6)


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        (
            {"af_sky": 100, "june-fr": 1, "hibari-94": 5, "am_adam+am_eric": 400, "carlo-it": 9},
            [0.2, 0.025, 0.3, 0.4, 0.075],
        ),
        ({"af_sky": 4, "june-fr": 9}, [6 / 7, 1 / 7]),
    ],
)
def test_each_group_of_voices_has_its_share_of_those_that_there_are(
    sizes: dict[str, float], shares: list[float]
) -> None:
    assert voice_shares(sizes, SHARES).tolist() == pytest.approx(shares)
