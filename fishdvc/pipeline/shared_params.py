"""Sections of params.yaml that several stages read, and the rule for external files."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from fishdvc.corpus.bad_clips import OnBadClip
from fishdvc.errors import ParamsError
from fishdvc.validation import Checked, shown

OUTPUTS = Path("data")
"""Folder of the outputs of all stages."""
# fmt: off
OUTPUT_NAMES = (
    "base", "normalized", "codes", "protos", "lora", "logs", "evaluation", "merged", "metrics",
    "reports",
)
# fmt: on
"""Names of the outputs in it."""
EXTERNAL = Path("data/external")
"""Folder of external files that parameters refer to.

``EXTERNAL/<stage>`` is a DVC dependency of the stage, so the stage reruns when a file changes."""
_SUFFIX = re.compile(r"(\.[\w-]{1,20}){1,4}")


class DatasetParams(Checked):
    """Section ``dataset`` of params.yaml."""

    path: str = Field(
        description="Folder of speakers: <speaker>/<clip>.wav (or .flac, .mp3) with a transcript."
    )
    text_extension: str = Field(description="Suffix of transcripts.")
    on_bad_clip: OnBadClip = Field(
        description="What to do with clips that cannot be used: fail or skip."
    )

    def inconsistencies(self) -> Iterator[str]:
        """Yield problems of the suffix, and of a folder in which the stages write."""
        if not _SUFFIX.fullmatch(self.text_extension):
            dotted = f".{self.text_extension}"
            hint = f"; did you mean {dotted!r}?" if _SUFFIX.fullmatch(dotted) else ""
            yield (
                "text_extension: must be a suffix with its dot, such as .lab or .normalized.txt, "
                f"got {shown(self.text_extension)}{hint}"
            )
        # Path.resolve raises an error for a NUL character and for links in a circle.
        folder = Path(os.path.realpath(self.path.replace("\0", "?")))
        outputs = [Path(os.path.realpath(OUTPUTS / name)) for name in OUTPUT_NAMES]
        if any(out.is_relative_to(folder) or folder.is_relative_to(out) for out in outputs):
            yield (
                "path: must be a folder without outputs of the pipeline, such as data/my-voice, "
                f"got {shown(self.path)}"
            )


class BaseParams(Checked):
    """Section ``base`` of params.yaml."""

    source: str = Field(
        description="A folder, or a repository on the hub, such as fishaudio/fish-speech-1.5."
    )
    revision: str = Field(description="Commit, tag or branch of the repository.")
    codec_checkpoint: str = Field(
        description="Name of the codec's file in the source, or a path in data/external/fetch_base."
    )

    @property
    def codec_file(self) -> str:
        """Name of the codec's file in the fetched folder."""
        return Path(self.codec_checkpoint).name


def external_path(value: str, *, stage: str, param: str) -> Path:
    """Return the path in a parameter, after checking that DVC tracks it.

    Args:
        value: The parameter's value.
        stage: Stage that reads the file.
        param: Name of the parameter, for the error message.

    Raises:
        ParamsError: The path is outside ``EXTERNAL/<stage>``, is or is in a linked folder, links to
            an output of the pipeline, or does not exist.
    """
    path = Path(value)
    top = EXTERNAL / stage
    # A base is large, and DVC follows links to files. An adapter in data/lora must be copied.
    copy = "cp -rs" if stage == "fetch_base" else "cp -r"
    # Links are not resolved: a file in the folder may be a link to anywhere.
    place = Path(os.path.abspath(path))  # noqa: PTH100
    if top.absolute() not in place.parents:
        raise ParamsError(
            f"{param}: {value} is not in {top}, where DVC tracks it; copy it: "
            f"{copy} {place} {top}/, then set {param}: {top / path.name}"
        )
    if not path.exists():
        raise ParamsError(f"{param}: {value}: no such file or folder")
    for file in [path, *path.rglob("*")]:
        target = file.resolve()
        if file.is_symlink() and target.is_relative_to(OUTPUTS.resolve()):
            raise ParamsError(
                f"{param}: {file} is a link to {target}, an output that DVC deletes before a stage "
                f"runs; replace it by a copy: rm {file} && cp {target} {file}"
            )
    while place != top.absolute():
        if place.is_symlink() and place.is_dir():
            raise ParamsError(
                f"{param}: {place} is a link to a folder, and DVC does not follow it; replace it "
                f"by a copy: rm {place} && {copy} {place.resolve()} {place}"
            )
        place = place.parent
    return path


def init_from_path(value: str) -> Path:
    """Return the folder that ``train_lora.init_from`` names, checked by ``external_path``."""
    return external_path(value, stage="train_lora", param="train_lora.init_from")
