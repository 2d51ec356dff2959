import json
from pathlib import Path

import pytest

from fishdvc.text.clean import clean_text, is_speakable, strip_annotations


def test_cleaned_texts_are_those_of_the_reference(assets: Path) -> None:
    cases = json.loads((assets / "tokenizer_cases.json").read_text(encoding="utf-8"))
    assert {case["text"]: clean_text(case["text"]) for case in cases} == {
        case["text"]: case["cleaned"] for case in cases
    }


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a,😀,b", "a,b"),  # the emoji is deleted first, then the two commas are a run
        ("a，，b", "a，，b"),  # full-width commas are not ASCII commas
        ("“double” quotes", "“double” quotes"),
        ("\n\t a \n", "a"),
        ("🥳", "🥳"),  # U+1F973 is outside the four ranges
    ],
)
def test_cleaning_handmade_cases(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("one {noise} two <laugh> three", "one two three"),
        ("{a}b}", " b}"),  # shortest match
        ("a <not\nclosed> b", "a <not closed> b"),  # not across lines
        ("<{>}", "< "),  # braces first
        ("a\t\r\n  b\n", "a b "),  # white space at the ends is kept
        ("", ""),
    ],
)
def test_annotations_become_one_space(text: str, stripped: str) -> None:
    assert strip_annotations(text) == stripped


@pytest.mark.parametrize(
    ("text", "speakable"),
    [("你好", True), ("1 {noise}", True), ("", False), (" 😀\n", False), ("<laugh> {a}😀", False)],
)
def test_annotations_emoji_and_white_space_are_not_speakable(text: str, speakable: bool) -> None:
    assert is_speakable(text) is speakable
