import json
from pathlib import Path

import pytest

from fishdvc.text.clean import clean_text, find_annotations, is_speakable, strip_annotations


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
        ("{a <b>\n{c} <d", "{a <d"),  # an unclosed bracket is kept
        ("<{>}", "< "),  # braces first
        ("a\t\r\n  b\n", "a b "),  # white space at the ends is kept
        ("", ""),
    ],
)
def test_annotations_become_one_space(text: str, stripped: str) -> None:
    assert strip_annotations(text) == stripped


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one {noise} two <laugh> three", ["{noise}", "<laugh>"]),
        ("If a <b and c> d, press 1.", ["<b and c>"]),
        ("<{>}", ["{>}"]),  # braces first
        ("{a <b>\n{c} <d", ["{c}", "<b>"]),
        ("a < b\nc > d {", []),  # not across lines
    ],
)
def test_annotations_are_found_as_they_are_stripped(text: str, found: list[str]) -> None:
    assert find_annotations(text) == found


@pytest.mark.parametrize("text", ["你好", "1 {noise}", "ん", "٣", "é", "½ %", "ไ", "<a> b"])
def test_letters_and_digits_are_speakable(text: str) -> None:
    assert is_speakable(text)


PUNCTUATION = ("...", "?!", "—", "。", "♪", "$")
EMOJI = ("😀", "🥳", "👍🏽", "👨\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪")
INVISIBLE = ("\0", "\u200b", "\ufeff", "\u00ad", "\u2060", "\u180e", "\u200e", "\U000e0061")
BLANK = ("", " \n", "\u3000", "\u2800", "\u3164", "\u115f", "\uffa0", "\u0301")


@pytest.mark.parametrize("text", ["<laugh> {a}😀", *PUNCTUATION, *EMOJI, *INVISIBLE, *BLANK])
def test_nothing_else_is_speakable(text: str) -> None:
    assert not is_speakable(text)
