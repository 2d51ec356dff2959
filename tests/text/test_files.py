"""Text files of users."""

from pathlib import Path

import pytest

from fishdvc.errors import DatasetError
from fishdvc.text.files import read_utf8


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_text_is_utf_8_with_or_without_a_byte_order_mark(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes(mark + b"Bonjour, \xc3\xa7a va?\r\n")
    assert read_utf8(path) == "Bonjour, ça va?\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ça va".encode("latin-1"), r"not UTF-8 \(byte 0\); save it as UTF-8"),
        ("ça va".encode("utf-16"), r"not UTF-8 \(byte 0\); save it as UTF-8"),
        ("Hello".encode("utf-16-le"), "contains NUL characters, so it may be UTF-16; save it as"),
        (b"Hello\0", "contains NUL characters"),
    ],
)
def test_another_encoding_is_an_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"1\.lab: {message}"):
        read_utf8(path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"1\.lab: cannot be read: No such file"):
        read_utf8(tmp_path / "1.lab")
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        read_utf8(tmp_path)
