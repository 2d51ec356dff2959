import pytest

from fishdvc.storage.lfs import pointer_problem

GIT_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
KEY = b"SHA256E-s12345--4d7a.wav"


@pytest.mark.parametrize(
    ("head", "command"),
    [
        (GIT_LFS, "git lfs pull"),
        (GIT_LFS[:40], "git lfs pull"),
        (b"/annex/objects/" + KEY + b"\n", "git annex get"),
        (b"../../.git/annex/objects/Xx/9f/" + KEY + b"/" + KEY, "git annex get"),
        (b"..\\.git\\annex\\objects\\Xx\\9f\\" + KEY, "git annex get"),
    ],
)
def test_a_pointer_is_recognized_by_its_start(head: bytes, command: str) -> None:
    assert (pointer_problem(head) or "").endswith(f"in place of the file; run `{command}`")


@pytest.mark.parametrize(
    "head",
    [
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"",
        b"We use version https://git-lfs.github.com/spec/v1",
        b"The folder /annex/objects/ is empty.",
    ],
)
def test_another_file_is_no_pointer(head: bytes) -> None:
    assert pointer_problem(head) is None
