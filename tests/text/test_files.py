"""Text files of users."""

import re
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Hi.\n\x1b[31mred", "line 2: U+001B is a control character; write the text again"),
        ("It is \x85", "line 1: U+0085 is a control character"),  # "…" of Windows, read as Latin 1
        ("caf\ufffd", "line 1: U+FFFD is the replacement character for a letter"),
    ],
)
def test_a_character_that_is_no_text_is_an_error(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "1.lab"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=re.escape(f"1.lab: {message}")):
        read_utf8(path)


def test_white_space_of_all_kinds_is_text(tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes("\ta\v\f\r\nb\rc\u2028\xa0\u3000\u200b".encode())
    assert read_utf8(path) == "\ta\v\f\nb\nc\u2028\xa0\u3000\u200b"


def test_a_text_file_has_at_most_a_million_bytes(tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes(b"a" * 10**6)
    assert len(read_utf8(path)) == 10**6
    path.write_bytes(b"a" * (10**6 + 1))
    with pytest.raises(DatasetError, match="expected at most 1000000 bytes, got more"):
        read_utf8(path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"1\.lab: cannot be read: No such file"):
        read_utf8(tmp_path / "1.lab")
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        read_utf8(tmp_path)
    (tmp_path / "2.lab").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    with pytest.raises(DatasetError, match=r"2\.lab: cannot be read: a Git LFS .*`git lfs pull`"):
        read_utf8(tmp_path / "2.lab")
    (tmp_path / "3.lab").write_text("/annex/objects/SHA256E-s9--4d.lab\n")
    with pytest.raises(
        DatasetError, match=r"3\.lab: cannot be read: a git-annex .*`git annex get`"
    ):
        read_utf8(tmp_path / "3.lab")
