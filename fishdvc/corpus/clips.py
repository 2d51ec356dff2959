"""Find the clips of a dataset: pairs of an audio file and its transcript, by speaker folder.

Knows file names and transcripts. Audio is not opened here. Starts without torch.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fishdvc.audio.waveform import READABLE_SUFFIXES, UNREADABLE_SUFFIXES
from fishdvc.errors import DatasetError
from fishdvc.text.clean import strip_annotations

AUDIO_SUFFIXES = READABLE_SUFFIXES + UNREADABLE_SUFFIXES


@dataclass(frozen=True, kw_only=True, order=True)
class Clip:
    """One recording with its transcript.

    Attributes:
        name: Path below the dataset without the last suffix, with forward slashes.
        audio: The audio file.
        transcript: The text file beside it.
    """

    name: str
    audio: Path
    transcript: Path

    @property
    def speaker(self) -> str:
        """Name of the clip's own folder."""
        return PurePosixPath(self.name).parent.name


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What a dataset folder holds.

    Attributes:
        clips: Every pair, sorted by name.
        problems: One line for each file that is no part of a pair, naming what to do.
    """

    clips: tuple[Clip, ...]
    problems: tuple[str, ...]


def find_clips(root: Path, text_extension: str) -> Corpus:
    """List the clips below a folder of speakers.

    Files that are neither audio nor transcripts, and hidden ones, are left alone.

    Args:
        root: Holds ``<speaker>/<clip>.<audio suffix>``, speakers possibly in further folders.
        text_extension: Suffix of transcripts, such as ``.lab``.

    Raises:
        DatasetError: There is no such folder, or no audio and no transcript in it; or the
            extension is none.
    """
    if not text_extension.startswith("."):
        raise DatasetError(
            f"dataset.text_extension: must begin with a dot, got {text_extension!r}; "
            f"did you mean '.{text_extension}'?"
        )
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; set dataset.path to your folder of speakers")
    audio, transcripts = defaultdict[str, list[Path]](list), dict[str, Path]()
    for path in _visible_files(root):
        name = path.relative_to(root).with_suffix("").as_posix()
        if path.suffix.lower() in AUDIO_SUFFIXES:
            audio[name].append(path)
        elif path.suffix.lower() == text_extension.lower():
            transcripts[name] = path
    if not audio and not transcripts:
        raise DatasetError(
            f"{root}: no clips; put <speaker>/<clip>.wav (or .flac, .mp3) with "
            f"<speaker>/<clip>{text_extension} into it"
        )
    clips, problems = [], []
    for name in sorted(audio.keys() | transcripts.keys()):
        problem = _pairing_problem(name, audio[name], transcripts.get(name), text_extension)
        if problem:
            problems.append(problem)
        else:
            clips.append(Clip(name=name, audio=audio[name][0], transcript=transcripts[name]))
    return Corpus(clips=tuple(clips), problems=tuple(problems))


def read_transcript(path: Path) -> str:
    """Read a transcript, without a byte order mark.

    Raises:
        DatasetError: It is not UTF-8, or holds nothing to be spoken.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8, as by "
            f"`iconv -t utf-8 -f <its encoding> {path.name}`"
        ) from None
    if not strip_annotations(text).strip():
        raise DatasetError(f"{path}: empty transcript; write what is said, or remove the clip")
    return text


def _visible_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden:
            yield path


def _pairing_problem(
    name: str, audio: list[Path], transcript: Path | None, text_extension: str
) -> str | None:
    if len(audio) > 1:
        names = " and ".join(path.name for path in audio)
        return f"{audio[0].parent}: {names} differ only in their suffix; keep one, rename the other"
    if not audio:
        return f"{transcript}: no audio beside it; add it or remove the transcript"
    if transcript is None:
        wanted = PurePosixPath(name).name + text_extension
        return f"{audio[0]}: no transcript {wanted} beside it; add it or remove the audio"
    if "/" not in name:
        return f"{audio[0]}: in no speaker's folder; move it into {audio[0].parent}/<speaker>/"
    return None
