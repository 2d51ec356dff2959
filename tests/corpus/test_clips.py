"""Clips of a dataset folder, and transcripts."""

from pathlib import Path

import pytest

from fishdvc.corpus.clips import Clip, find_clips, read_transcript
from fishdvc.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_clips_are_pairs_sorted_by_name(root: Path) -> None:
    touch(root, "b/2.mp3", "b/2.lab", "a/1.wav", "a/1.lab", "a/10.flac", "a/10.lab")
    clips, problems = find_clips(root, ".lab")
    assert problems == []
    assert [clip.name for clip in clips] == ["a/1", "a/10", "b/2"]
    assert clips[0] == Clip(name="a/1", audio=root / "a/1.wav", transcript=root / "a/1.lab")


def test_the_speaker_is_the_folder_of_the_clip(root: Path) -> None:
    touch(root, "english/women/ann/1.wav", "english/women/ann/1.lab", "bob/1.wav", "bob/1.lab")
    assert [clip.speaker for clip in find_clips(root, ".lab")[0]] == ["bob", "ann"]


def test_names_may_contain_dots_and_suffixes_may_be_upper_case(root: Path) -> None:
    touch(root, "a/21.15-26.44.mp3", "a/21.15-26.44.lab", "a/21.15-27.WAV", "a/21.15-27.LAB")
    clips, problems = find_clips(root, ".lab")
    assert problems == []
    assert [clip.name for clip in clips] == ["a/21.15-26.44", "a/21.15-27"]


def test_transcripts_may_have_another_suffix(root: Path) -> None:
    touch(root, "a/1.wav", "a/1.txt", "a/1.lab")
    ((clip,), _) = find_clips(root, ".txt")
    assert clip.transcript.name == "1.txt"


def test_hidden_and_other_files_are_ignored(root: Path) -> None:
    touch(root, "ATTRIBUTION.md", "a/1.wav", "a/1.lab", "a/notes.pdf", "a/._1.wav", ".DS_Store")
    touch(root, ".git/objects/1.wav", "a/.trash/2.wav")
    clips, problems = find_clips(root, ".lab")
    assert ([clip.name for clip in clips], problems) == (["a/1"], [])


def test_symbolic_links_are_followed(root: Path, tmp_path: Path) -> None:
    touch(tmp_path, "store/x", "store/y")
    touch(root, "a/2.wav", "a/2.lab")
    (root / "a/1.wav").symlink_to(tmp_path / "store/x")
    (root / "a/1.lab").symlink_to(tmp_path / "store/y")
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    assert [clip.name for clip in find_clips(linked, ".lab")[0]] == ["a/1", "a/2"]


def test_every_file_that_is_not_part_of_a_clip_is_listed(root: Path) -> None:
    touch(root, "a/1.wav", "a/2.lab", "a/3.wav", "a/3.mp3", "a/3.lab", "top.wav", "top.lab")
    touch(root, "a/good.wav", "a/good.lab", "a/4.m4a")
    clips, problems = find_clips(root, ".lab")
    assert [clip.name for clip in clips] == ["a/good"]
    assert problems == [
        f"{root}/a/1.wav: no transcript 1.lab in its folder; add it or remove the audio",
        f"{root}/a/2.lab: no audio file of the same name; add it or remove the transcript",
        f"{root}/a: 3.mp3 and 3.wav differ only in their suffix; keep one or rename one",
        f"{root}/a/4.m4a: no transcript 4.lab in its folder; add it or remove the audio",
        f"{root}/top.wav: not in a speaker's folder; move it into {root}/<speaker>/",
    ]


def test_a_folder_without_clips_is_an_error(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"raw/no: no such folder; set dataset\.path"):
        find_clips(root / "no", ".lab")
    touch(root, "ATTRIBUTION.md")
    with pytest.raises(DatasetError, match=r"raw: no clips; put <speaker>/<clip>\.wav"):
        find_clips(root, ".lab")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_transcript_is_utf_8_with_or_without_a_byte_order_mark(
    mark: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes(mark + b"Bonjour, \xc3\xa7a va?\r\n")
    assert read_transcript(path) == "Bonjour, ça va?\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ça va".encode("latin-1"), r"not UTF-8 \(byte 0\); save it as UTF-8"),
        ("ça va".encode("utf-16"), r"not UTF-8 \(byte 0\); save it as UTF-8"),
        (b"", "empty transcript; write what is said"),
        (b" \n\t ", "empty transcript; write what is said"),
        (b"<laugh> {cough}\n", "empty transcript; write what is said"),
        ("\N{GRINNING FACE}".encode(), "empty transcript; write what is said"),
    ],
)
def test_an_unusable_transcript_is_an_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"1\.lab: {message}"):
        read_transcript(path)
