"""Read text files of users."""

from pathlib import Path

from fishdvc.errors import DatasetError


def read_utf8(path: Path) -> str:
    """Read a text file, without its byte order mark.

    Raises:
        DatasetError: The file cannot be read, is not UTF-8, or contains NUL characters.
    """
    todo = f"save it as UTF-8, for example with `iconv -t utf-8 -f <its encoding> {path.name}`"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 (byte {error.start}); {todo}") from None
    if "\0" in text:
        # UTF-16 without a byte order mark is valid UTF-8 if all letters are ASCII.
        raise DatasetError(f"{path}: contains NUL characters, so it may be UTF-16; {todo}")
    return text
