"""Find the clips of a dataset: pairs of an audio file and its transcript, by speaker folder."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fishdvc.corpus.files import list_files
from fishdvc.corpus.names import length_problem, speaker_of
from fishdvc.corpus.suffixes import READABLE, UNREADABLE
from fishdvc.errors import DatasetError
from fishdvc.text.clean import is_speakable
from fishdvc.text.files import read_utf8

_WRITTEN_SUFFIXES = (".flac", ".npy")
"""Suffixes of files that the stages name after a clip."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording with its transcript.

    Attributes:
        name: Path below the dataset folder without the suffix, in Unicode NFC and with forward
            slashes.
        audio: The audio file.
        transcript: The text file in the same folder.
    """

    name: str
    audio: Path
    transcript: Path

    @property
    def speaker(self) -> str:
        """Path of the clip's folder below the dataset folder, or ``.`` for that folder itself."""
        return speaker_of(self.name)


class FoundClips(NamedTuple):
    """Result of a search.

    Attributes:
        clips: All clips, sorted by name.
        problems: One line per file that should be part of a clip and is not, and per file or folder
            that cannot be read.
        notes: One line per file that is not used because it is neither audio nor a transcript, per
            hidden file and per linked folder.
    """

    clips: list[Clip]
    problems: list[str]
    notes: list[str]


@dataclass
class _Group:
    """Files whose path without suffix is the same."""

    audio: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    transcripts: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def problems(self, name: str, text_extension: str) -> Iterator[str]:
        """Yield why the audio and the transcripts are not one clip."""
        recordings = sorted(self.audio + self.unreadable)
        if len(recordings) > 1:
            yield _too_many("recordings", recordings)
        elif self.unreadable:
            (path,) = self.unreadable
            yield (
                f"{path}: {path.suffix} cannot be read; convert it: "
                f"`ffmpeg -i {path.name} {path.stem}.flac`"
            )
        elif self.transcripts and not self.audio:
            beside = "".join(f", only {path.name}" for path in self.others)
            yield (
                f"{self.transcripts[0]}: no audio file of the same name{beside}; add it or remove "
                "the transcript"
            )
        elif self.audio and not self.transcripts:
            yield (
                f"{self.audio[0]}: no transcript {PurePosixPath(name).name}{text_extension} in its "
                "folder; add it or remove the audio"
            )
        elif self.audio and (
            problem := length_problem(name, self.audio[0], (*_WRITTEN_SUFFIXES, text_extension))
        ):
            yield problem
        if len(self.transcripts) > 1:
            yield _too_many("transcripts", self.transcripts)


def _too_many(what: str, paths: Sequence[Path]) -> str:
    names = " and ".join(path.name for path in paths)
    return f"{paths[0].parent}: {names} are {what} of one clip; keep one or rename one"


def find_clips(root: Path, text_extension: str) -> FoundClips:
    """List the clips below a folder of speakers.

    Names are compared in Unicode NFC. The case of suffixes does not matter. Links are followed.
    Files such as ``.DS_Store``, ``._*`` and ``Thumbs.db`` are ignored; all others are used or
    reported.

    Args:
        root: Folder with ``<speaker>/<clip>.<audio suffix>``. Speaker folders may be nested.
        text_extension: Suffix of transcripts, such as ``.lab`` or ``.normalized.txt``.

    Raises:
        DatasetError: The folder does not exist or contains no clips, or the suffix is one of audio.
    """
    if PurePosixPath(f"x{text_extension}").suffix.lower() in READABLE | UNREADABLE:
        raise DatasetError(
            f"dataset.text_extension: expected a suffix of transcripts, such as .lab, got "
            f"{text_extension}, a suffix of audio; correct it"
        )
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; set dataset.path to your folder of speakers")
    listing = list_files(root)
    files = defaultdict[str, _Group](_Group)
    for name, path in listing.files:
        suffix = PurePosixPath(name).suffix
        if suffix.lower() in READABLE:
            files[name.removesuffix(suffix)].audio.append(path)
        elif name.lower().endswith(text_extension.lower()):
            files[name[: -len(text_extension)]].transcripts.append(path)
        elif suffix.lower() in UNREADABLE:
            files[name.removesuffix(suffix)].unreadable.append(path)
        else:
            files[name.removesuffix(suffix)].others.append(path)
    clips, problems, notes = [], listing.problems, listing.notes
    for name, group in sorted(files.items()):
        if found := list(group.problems(name, text_extension)):
            problems += found
        elif group.audio:
            clips.append(Clip(name=name, audio=group.audio[0], transcript=group.transcripts[0]))
        notes += [
            f"{path}: not used, because it is neither audio nor a {text_extension} file"
            for path in group.others
        ]
    if not clips and not problems:
        raise DatasetError(
            f"{root}: no clips; put <speaker>/<clip>.wav (or .flac, .mp3) and "
            f"<speaker>/<clip>{text_extension} into it"
        )
    return FoundClips(clips, problems, notes)


def find_transcript(audio: Path, text_extension: str) -> Path:
    """Return the transcript of a single audio file, by the rules of ``find_clips``.

    Raises:
        DatasetError: The folder has no transcript of this name, or several.
    """

    def folded(name: str) -> str:
        stem, suffix = name[: -len(text_extension)], name[-len(text_extension) :]
        return unicodedata.normalize("NFC", stem) + suffix.lower()

    wanted = audio.stem + text_extension
    found = [path for path in sorted(audio.parent.iterdir()) if folded(path.name) == folded(wanted)]
    if not found:
        raise DatasetError(
            f"{audio}: no transcript {wanted} beside it; add it, or use --reference-text"
        )
    if len(found) > 1:
        raise DatasetError(_too_many("transcripts", found))
    return found[0]


def read_transcript(path: Path) -> str:
    """Read a transcript without its byte order mark.

    Raises:
        DatasetError: The file cannot be read, is not UTF-8, or contains no text to speak.
    """
    text = read_utf8(path)
    if not is_speakable(text):
        raise DatasetError(
            f"{path}: empty transcript: no letter or digit that is spoken; write what is said, "
            "or remove the clip"
        )
    return text
