"""What a recognizer heard is compared with the text word by word."""

import pytest

from fishdvc.evaluation.page.differences import Part, mark_differences


@pytest.mark.parametrize(
    ("text", "heard", "parts"),
    [
        ("Press one, now.", "press one now", [("same", "press one now")]),
        (
            "Enter your password now.",
            "Enter a password password now",
            [
                ("same", "Enter "),
                ("missing", "your "),
                ("added", "a password "),
                ("same", "password now"),
            ],
        ),
        ("Goodbye.", "", [("missing", "Goodbye.")]),
        ("", "you", [("added", "you")]),
        ("", "", []),
        ("今天好", "今天很好", [("same", "今天"), ("added", "很"), ("same", "好")]),
    ],
    ids=["equal", "replaced and repeated", "nothing heard", "no text", "empty", "no spaces"],
)
def test_parts_are_what_was_heard_and_what_is_missing(
    text: str, heard: str, parts: list[tuple[str, str]]
) -> None:
    marked = mark_differences(text, heard)
    assert marked == parts
    assert "".join(part.words for part in marked if part.kind != "missing") == heard
    assert all(isinstance(part, Part) for part in marked)
