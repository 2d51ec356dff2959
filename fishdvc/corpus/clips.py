"""Find the clips of a dataset: pairs of an audio file and its transcript, by speaker folder."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fishdvc.audio.waveform import AUDIO_SUFFIXES
from fishdvc.errors import DatasetError
from fishdvc.text.clean import is_speakable


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording with its transcript.

    Attributes:
        name: Path below the dataset folder without the suffix, with forward slashes.
        audio: The audio file.
        transcript: The text file in the same folder.
    """

    name: str
    audio: Path
    transcript: Path

    @property
    def speaker(self) -> str:
        """Name of the folder that contains the clip."""
        return PurePosixPath(self.name).parent.name


def find_clips(root: Path, text_extension: str) -> tuple[list[Clip], list[str]]:
    """List the clips below a folder of speakers.

    Hidden files, and files that are neither audio nor transcripts, are ignored.

    Args:
        root: Folder with ``<speaker>/<clip>.<audio suffix>``. Speaker folders may be nested.
        text_extension: Suffix of transcripts, such as ``.lab``.

    Returns:
        All clips, sorted by name, and one line per file that is not part of a clip.

    Raises:
        DatasetError: The folder does not exist or contains no clips.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; set dataset.path to your folder of speakers")
    audio, transcripts = defaultdict[str, list[Path]](list), dict[str, Path]()
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        name = relative.with_suffix("").as_posix()
        if path.suffix.lower() in AUDIO_SUFFIXES:
            audio[name].append(path)
        elif path.suffix.lower() == text_extension.lower():
            transcripts[name] = path
    if not audio and not transcripts:
        raise DatasetError(
            f"{root}: no clips; put <speaker>/<clip>.wav (or .flac, .mp3) and "
            f"<speaker>/<clip>{text_extension} into it"
        )
    clips, problems = [], []
    for name in sorted(audio.keys() | transcripts.keys()):
        problem = _pairing_problem(name, audio[name], transcripts.get(name), text_extension)
        if problem:
            problems.append(problem)
        else:
            clips.append(Clip(name=name, audio=audio[name][0], transcript=transcripts[name]))
    return clips, problems


def read_transcript(path: Path) -> str:
    """Read a transcript without its byte order mark.

    Raises:
        DatasetError: The file is not UTF-8, or contains no text to speak.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8, for example with "
            f"`iconv -t utf-8 -f <its encoding> {path.name}`"
        ) from None
    if not is_speakable(text):
        raise DatasetError(f"{path}: empty transcript; write what is said, or remove the clip")
    return text


def _pairing_problem(
    name: str, audio: list[Path], transcript: Path | None, text_extension: str
) -> str | None:
    if len(audio) > 1:
        names = " and ".join(path.name for path in audio)
        return f"{audio[0].parent}: {names} differ only in their suffix; keep one or rename one"
    if not audio:
        return f"{transcript}: no audio file of the same name; add it or remove the transcript"
    if transcript is None:
        wanted = PurePosixPath(name).name + text_extension
        return f"{audio[0]}: no transcript {wanted} in its folder; add it or remove the audio"
    if "/" not in name:
        return f"{audio[0]}: not in a speaker's folder; move it into {audio[0].parent}/<speaker>/"
    return None
