import pytest

from fishdvc.storage.lfs import is_lfs_pointer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (POINTER, True),
        (POINTER[:40], True),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", False),
        (b"", False),
        (b"We use version https://git-lfs.github.com/spec/v1", False),
    ],
)
def test_a_pointer_is_recognized_by_its_first_line(head, expected):
    assert is_lfs_pointer(head) == expected
