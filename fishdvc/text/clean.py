"""Cleaning of transcripts: once when shards are built, and once more for every prompt.

Knows strings only. The two functions act at different times: ``strip_annotations`` decides what a
shard keeps of a transcript, ``clean_text`` what the model reads of it, in training and generation
alike.
"""

import re

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
_BRACES = re.compile(r"\{.*?\}")
_ANGLES = re.compile(r"<.*?>")
_WHITE_SPACE = re.compile(r"\s+")


def clean_text(text: str) -> str:
    """Bring a text into the form that the model was trained on.

    In this order: strip white space at both ends; curly single quotes become ASCII apostrophes;
    emoji are deleted; a run of ASCII commas becomes one. White space that an emoji leaves at an
    end stays, as in the reference implementation.
    """
    text = text.strip().translate(_CURLY_QUOTES)
    return _COMMAS.sub(",", _EMOJI.sub("", text))


def strip_annotations(text: str) -> str:
    """Take annotations out of a transcript: ``{...}`` and ``<...>`` each become a space.

    The shortest match is taken, braces first, and none reaches across a line end. Then every run
    of white space, line ends included, becomes one space. The ends are not stripped.
    """
    return _WHITE_SPACE.sub(" ", _ANGLES.sub(" ", _BRACES.sub(" ", text)))
