"""Read text files of users."""

from pathlib import Path

from fishdvc.errors import DatasetError
from fishdvc.storage.small_files import read_small_file
from fishdvc.text.clean import invalid_character

MAX_TEXT_BYTES = 10**6
"""A transcript has a few hundred bytes."""


def read_utf8(path: Path) -> str:
    """Read a text file, without its byte order mark and with line ends of Unix.

    Raises:
        DatasetError: The file cannot be read, is larger than ``MAX_TEXT_BYTES``, is not UTF-8, or
            contains a character that is not text (``invalid_character``).
    """
    todo = f"save it as UTF-8, for example with `iconv -t utf-8 -f <its encoding> {path.name}`"
    try:
        text = read_small_file(path, max_bytes=MAX_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 (byte {error.start}); {todo}") from None
    if "\0" in text:
        # UTF-16 without a byte order mark is valid UTF-8 if all letters are ASCII.
        raise DatasetError(f"{path}: contains NUL characters, so it may be UTF-16; {todo}")
    if problem := invalid_character(text):
        raise DatasetError(f"{path}: {problem}")
    return text.replace("\r\n", "\n").replace("\r", "\n")
