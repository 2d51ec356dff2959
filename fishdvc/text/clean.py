"""Cleaning of texts, before they are stored in shards and before they are tokenized."""

import re
import unicodedata

_CURLY_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'"})
_EMOJI = re.compile(
    "["
    "\U0001f600-\U0001f64f"  # faces
    "\U0001f300-\U0001f5ff"  # symbols and pictographs
    "\U0001f680-\U0001f6ff"  # transport and maps
    "\U0001f1e0-\U0001f1ff"  # the letters of flags
    "]+"
)
_COMMAS = re.compile(",{2,}")
# An unclosed bracket matches too, without the group, so that each line is read once.
_BRACES = re.compile(r"\{[^}\n]*(\})?")
_ANGLES = re.compile(r"<[^>\n]*(>)?")
_INVALID = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
"""Control characters except white space, surrogates, and the replacement character."""
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"
"""Fillers of Hangul, which are letters for Unicode."""
_WHITE_SPACE = re.compile(r"\s+")


def clean_text(text: str) -> str:
    """Convert a text to the form that the model was trained on. Every prompt's text is cleaned.

    In this order: strip white space at both ends; replace curly single quotes by ASCII
    apostrophes; delete emoji; replace a run of ASCII commas by one. White space that remains at an
    end after an emoji is kept, as in the reference implementation.
    """
    text = text.strip().translate(_CURLY_QUOTES)
    return _COMMAS.sub(",", _EMOJI.sub("", text))


def strip_annotations(text: str) -> str:
    """Replace each annotation ``{...}`` or ``<...>`` of a transcript by a space.

    Matches are the shortest possible, braces are replaced first, and an annotation ends on the line
    where it begins. Then every run of white space, including line ends, becomes one space. White
    space at the ends is kept.
    """
    return _WHITE_SPACE.sub(" ", _ANGLES.sub(_to_space, _BRACES.sub(_to_space, text)))


def find_annotations(text: str) -> list[str]:
    """Return the annotations that ``strip_annotations`` replaces, braces first."""
    braces = _BRACES.finditer(text)
    angles = _ANGLES.finditer(_BRACES.sub(_to_space, text))
    return [match[0] for match in (*braces, *angles) if match[1]]


def invalid_character(text: str) -> str | None:
    """Return a problem that names the first character that is not text, or None.

    These are control characters except tab and line ends, surrogates (bytes of an argument that are
    not UTF-8), and U+FFFD.
    """
    if not (match := _INVALID.search(text)):
        return None
    char = match[0]
    what = "a control character"
    if char == "\ufffd":
        what = "the replacement character for a letter that was lost"
    elif char >= "\ud800":
        what = "not valid Unicode"
    line = text.count("\n", 0, match.start()) + 1
    return f"line {line}: U+{ord(char):04X} is {what}; write the text again without it"


def is_speakable(text: str) -> bool:
    """Return whether a letter or a digit is left after annotations and emoji are removed.

    Punctuation, symbols, white space and invisible characters alone are nothing to speak.
    """
    cleaned = clean_text(strip_annotations(text))
    return any(
        unicodedata.category(char)[0] in "LN" and char not in _INVISIBLE_LETTERS for char in cleaned
    )


def _to_space(match: re.Match[str]) -> str:
    return " " if match[1] else match[0]
