"""The sections of params.yaml that several stages read.

They stand apart, so that the code of one stage is no dependency of another.
"""

from dataclasses import dataclass
from pathlib import Path

from fishdvc.files.problems import OnBadClip
from fishdvc.params import param


@dataclass(frozen=True, kw_only=True)
class DatasetParams:
    """Section ``dataset`` of params.yaml."""

    path: str = param(
        "Folder of speakers: <speaker>/<clip>.wav (or .flac, .mp3) and its transcript."
    )
    text_extension: str = param("Suffix of transcripts.")
    on_bad_clip: OnBadClip = param("What to do about clips that cannot be used: fail or skip.")


@dataclass(frozen=True, kw_only=True)
class BaseParams:
    """Section ``base`` of params.yaml."""

    source: str = param("A folder, or a repository on the hub, such as fishaudio/fish-speech-1.5.")
    revision: str = param("Commit, tag or branch of the repository; a folder has none.")
    codec_checkpoint: str = param(
        "The codec's file: a bare name is one of the source's, a path such as ./codec.pth your own."
    )

    @property
    def codec_file(self) -> str:
        """Name of the codec's file in the fetched folder."""
        return Path(self.codec_checkpoint).name
