import random

import pytest

from fishdvc.text.split import split_text


@pytest.mark.parametrize(
    ("text", "max_characters", "parts"),
    [
        ("", 10, []),
        (" \n ", 10, []),
        ("One. Two! Three?", 100, ["One. Two! Three?"]),
        ("One. Two! Three?", 9, ["One. Two!", "Three?"]),
        ('"Really?" he said. Yes.', 19, ['"Really?" he said.', "Yes."]),
        ("It costs 3.5 dollars. No.", 22, ["It costs 3.5 dollars.", "No."]),
        ("By J. S. Bach. Play it.", 15, ["By J. S. Bach.", "Play it."]),
        ("first, second, third", 14, ["first, second,", "third"]),
        ("no mark at all here", 12, ["no mark at", "all here"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("你好。今天很好，我们走吧。", 8, ["你好。", "今天很好，", "我们走吧。"]),
        ("Wait… what? Oh", 9, ["Wait…", "what? Oh"]),
        ("So I... Then no.", 9, ["So I...", "Then no."]),
        ("... ... ... One.", 4, ["One."]),
        ("😀. One. 😀.", 4, ["One."]),
    ],
)
def test_texts_are_split_at_the_best_ending_that_fits(
    text: str, max_characters: int, parts: list[str]
) -> None:
    assert split_text(text, max_characters) == parts


def test_only_white_space_and_unspeakable_parts_are_lost_and_no_part_is_too_long() -> None:
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choices("ab.,!? 。，\n-3\"'", k=rng.randint(0, 80)))
        limit = rng.randint(1, 30)
        parts = split_text(text, limit)
        assert all(part == part.strip() and len(part) <= limit for part in parts)
        assert all(any(char in "ab3" for char in part) for part in parts)
        kept, all_chars = "".join(parts), iter("".join(text.split()))
        assert all(char in all_chars for char in "".join(kept.split()))  # a subsequence
        assert [char for char in kept if char in "ab3"] == [char for char in text if char in "ab3"]
