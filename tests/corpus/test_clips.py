"""Clips of a dataset folder, and transcripts."""

import errno
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fishdvc.corpus.clips import Clip, find_clips, find_transcript, read_transcript
from fishdvc.errors import DatasetError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deny listing a folder. Permissions do not stop root, who may run the tests."""
    iterdir = Path.iterdir

    def denied(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", denied)


def deny_entering(folder: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of ``os`` that fails for all paths through a folder."""

    def denied(path: Any, *args: Any, **options: Any) -> Any:
        if folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return function(path, *args, **options)

    return denied


def test_clips_are_pairs_sorted_by_name(root: Path) -> None:
    touch(root, "b/2.mp3", "b/2.lab", "a/1.wav", "a/1.lab", "a/10.flac", "a/10.lab")
    clips, problems, _ = find_clips(root, ".lab")
    assert problems == []
    assert [clip.name for clip in clips] == ["a/1", "a/10", "b/2"]
    assert clips[0] == Clip(name="a/1", audio=root / "a/1.wav", transcript=root / "a/1.lab")


def test_the_speaker_is_the_path_of_the_clips_folder(root: Path) -> None:
    touch(root, "anna/clips/1.wav", "anna/clips/1.lab", "ben/clips/1.wav", "ben/clips/1.lab")
    touch(root, "anna/1.wav", "anna/1.lab", "top.wav", "top.lab")
    clips, problems, _ = find_clips(root, ".lab")
    assert problems == []
    assert {clip.name: clip.speaker for clip in clips} == {
        "anna/1": "anna",
        "anna/clips/1": "anna/clips",
        "ben/clips/1": "ben/clips",
        "top": ".",
    }


def test_names_may_contain_dots_and_suffixes_may_be_upper_case(root: Path) -> None:
    touch(root, "a/21.15-26.44.mp3", "a/21.15-26.44.lab", "a/21.15-27.WAV", "a/21.15-27.LAB")
    clips, problems, _ = find_clips(root, ".lab")
    assert problems == []
    assert [clip.name for clip in clips] == ["a/21.15-26.44", "a/21.15-27"]


def test_transcripts_may_have_another_suffix(root: Path) -> None:
    touch(root, "a/1.wav", "a/1.txt", "a/1.lab")
    ((clip,), _, _) = find_clips(root, ".txt")
    assert clip.transcript.name == "1.txt"


def test_a_suffix_of_transcripts_may_have_two_dots(root: Path) -> None:
    touch(root, "a/1.2.wav", "a/1.2.Normalized.txt", "a/1.2.original.txt")
    ((clip,), problems, notes) = find_clips(root, ".normalized.txt")
    assert (clip.name, clip.transcript.name, problems) == ("a/1.2", "1.2.Normalized.txt", [])
    assert notes == [
        f"{root}/a/1.2.original.txt: not used, because it is neither audio nor a .normalized.txt "
        "file"
    ]


@pytest.mark.parametrize("suffix", [".wav", ".FLAC", ".normalized.mp3", ".dsf"])
def test_a_suffix_of_audio_is_no_suffix_of_transcripts(suffix: str, root: Path) -> None:
    touch(root, "a/1.wav", "a/1.lab", f"a/2{suffix}")
    with pytest.raises(DatasetError, match=rf"text_extension: .* got {suffix}, a suffix of audio"):
        find_clips(root, suffix)


def test_other_files_are_noted(root: Path) -> None:
    touch(root, "ATTRIBUTION.md", "a/1.wav", "a/1.lab", "a/1.txt", "a/README", "b/notes.pdf")
    clips, problems, notes = find_clips(root, ".lab")
    assert ([clip.name for clip in clips], problems) == (["a/1"], [])
    assert notes == [
        f"{root}/{name}: not used, because it is neither audio nor a .lab file"
        for name in ("ATTRIBUTION.md", "a/1.txt", "a/README", "b/notes.pdf")
    ]


def test_files_of_operating_systems_are_ignored(root: Path) -> None:
    touch(root, "a/1.wav", "a/1.lab", "a/._1.wav", "a/._1.lab", ".DS_Store", "a/Thumbs.db")
    clips, problems, notes = find_clips(root, ".lab")
    assert ([clip.name for clip in clips], problems, notes) == (["a/1"], [], [])


def test_names_are_paired_in_unicode_nfc(root: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert composed != decomposed
    touch(root, f"{decomposed}/{decomposed}.wav", f"{composed}/{composed}.lab")
    ((clip,), problems, _) = find_clips(root, ".lab")
    assert (clip.name, clip.speaker, problems) == (f"{composed}/{composed}", composed, [])
    assert find_transcript(clip.transcript.with_name(f"{decomposed}.wav"), ".lab") == (
        clip.transcript
    )


def test_every_file_that_is_not_part_of_a_clip_is_listed(root: Path) -> None:
    touch(root, "a/1.wav", "a/2.lab", "a/3.wav", "a/3.mp3", "a/3.lab", "a/good.wav", "a/good.lab")
    touch(root, "a/4.dsf", "a/5.DSF", "a/5.lab", "a/6.wav", "a/6.lab", "a/6.LAB", "a/7.mp3")
    touch(root, "a/7.dsf", "a/8.xyz", "a/8.lab")
    clips, problems, notes = find_clips(root, ".lab")
    assert [clip.name for clip in clips] == ["a/good"]
    todo = "keep one or rename one"
    assert problems == [
        f"{root}/a/1.wav: no transcript 1.lab in its folder; add it or remove the audio",
        f"{root}/a/2.lab: no audio file of the same name; add it or remove the transcript",
        f"{root}/a: 3.mp3 and 3.wav are recordings of one clip; {todo}",
        f"{root}/a/4.dsf: .dsf cannot be read; convert it: `ffmpeg -i 4.dsf 4.flac`",
        f"{root}/a/5.DSF: .DSF cannot be read; convert it: `ffmpeg -i 5.DSF 5.flac`",
        f"{root}/a: 6.LAB and 6.lab are transcripts of one clip; {todo}",
        f"{root}/a: 7.dsf and 7.mp3 are recordings of one clip; {todo}",
        f"{root}/a/8.lab: no audio file of the same name, only 8.xyz; add it or remove the "
        "transcript",
    ]
    assert [note.split(":")[0] for note in notes] == [f"{root}/a/8.xyz"]


def test_a_name_that_is_too_long_for_the_stages_is_listed(root: Path) -> None:
    fits, too_long = "ä" * 125, "ä" * 125 + "x"
    for name in (fits, too_long):
        touch(root, f"a/{name}.wav", f"a/{name}.lab")
    clips, problems, _ = find_clips(root, ".lab")
    assert [clip.name for clip in clips] == [f"a/{fits}"]
    assert problems == [
        f"{root}/a/{too_long}.wav: expected a name of at most 250 bytes before the suffix, got "
        "251; rename it and its transcript"
    ]


def test_clips_beside_an_unreadable_folder_are_found(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(root, "a/1.wav", "a/1.lab", "b/1.wav", "b/1.lab")
    forbid(root / "b", monkeypatch)
    clips, problems, _ = find_clips(root, ".lab")
    assert [clip.name for clip in clips] == ["a/1"]
    assert problems == [f"{root}/b: Permission denied; correct its permissions, or remove it"]
    forbid(root, monkeypatch)
    assert find_clips(root, ".lab").problems[0].startswith(f"{root}: Permission denied")


def test_a_folder_that_can_be_listed_but_not_entered_is_one_problem(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(root, "a/1.wav", "a/1.lab", "b/1.wav", "b/1.lab")
    for name in ("stat", "lstat", "readlink"):
        monkeypatch.setattr(os, name, deny_entering(root / "b", getattr(os, name)))
    clips, problems, _ = find_clips(root, ".lab")
    assert [clip.name for clip in clips] == ["a/1"]
    assert problems == [f"{root}/b: Permission denied; correct its permissions, or remove it"]


def test_a_folder_without_clips_is_an_error(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"raw/no: no such folder; set dataset\.path"):
        find_clips(root / "no", ".lab")
    touch(root, "ATTRIBUTION.md")
    with pytest.raises(DatasetError, match=r"raw: no clips; put <speaker>/<clip>\.wav"):
        find_clips(root, ".lab")


@pytest.mark.parametrize("suffix", [".lab", ".LAB"])
def test_the_transcript_of_a_single_file_is_found_like_those_of_a_dataset(
    suffix: str, root: Path
) -> None:
    touch(root, f"A{suffix}", "B.lab", "A.labx")
    assert find_transcript(root / "A.FLAC", ".lab") == root / f"A{suffix}"
    with pytest.raises(DatasetError, match=r"C\.wav: no transcript C\.lab beside it; add it"):
        find_transcript(root / "C.wav", ".lab")
    touch(root, "A.Lab")
    with pytest.raises(DatasetError, match="are transcripts of one clip; keep one"):
        find_transcript(root / "A.FLAC", ".lab")


def test_a_transcript_is_read_with_line_ends_of_unix(tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_bytes("Bonjour, ça va?\r\n".encode())
    assert read_transcript(path) == "Bonjour, ça va?\n"


@pytest.mark.parametrize("text", ["", " \n\t ", "<laugh> {cough}\n", "🥳", "\u200b", "..."])
def test_a_transcript_with_nothing_to_speak_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "1.lab"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1\.lab: empty transcript: .*; write what is said"):
        read_transcript(path)
