"""Read the clips of the voice that ``fishdvc speak`` is to speak in, as training had them.

Starts without torch.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from fishdvc.audio.waveform import Waveform
from fishdvc.corpus.clips import read_transcript
from fishdvc.errors import FishdvcError
from fishdvc.params import read_params
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.text.clean import clean_text, strip_annotations

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class ReferenceClip:
    """A clip of the voice to speak in, at the loudness of training.

    Attributes:
        path: Where it was read.
        waveform: What it sounds like.
        text: What it says.
    """

    path: Path
    waveform: Waveform
    text: str


def read_references(
    arguments: argparse.Namespace, problems: list[str]
) -> tuple[ReferenceClip, ...]:
    """Read the clips of the arguments; what is wrong with them is added to the problems."""
    paths = [Path(path) for path in arguments.reference]
    texts: list[str | None] = list(arguments.reference_text)
    if texts and len(texts) != len(paths):
        problems.append(
            f"--reference-text: one for each --reference expected, got {len(texts)} for "
            f"{len(paths)}"
        )
        texts = []
    if not paths:
        return ()
    # Measuring loudness takes scipy, a second's import.
    from fishdvc.pipeline.normalize import NormalizeParams, read_normalized

    params = _tried(
        lambda: read_params(Path(arguments.params), "normalize", NormalizeParams), problems
    )
    extension = ".lab"
    if params:
        dataset = _tried(
            lambda: read_params(Path(arguments.params), "dataset", DatasetParams), problems
        )
        extension = dataset.text_extension if dataset else extension
    clips = []
    for path, given in zip(paths, texts or [None] * len(paths), strict=True):
        if not path.is_file():
            problems.append(f"{path}: no such file; --reference is a clip of the voice")
            continue
        text = _reference_text(path, given, extension, problems)
        read = _tried(partial(read_normalized, path, params), problems) if params else None
        if read and text:
            clips.append(ReferenceClip(path=path, waveform=read[0], text=text))
    return tuple(clips)


def _reference_text(
    clip: Path, given: str | None, extension: str, problems: list[str]
) -> str | None:
    if given is not None:
        if not clean_text(given):
            problems.append(f"--reference-text: what {clip} says expected, got nothing")
        return given
    transcript = clip.with_suffix(extension)
    if not transcript.is_file():
        problems.append(
            f"{clip}: no transcript {transcript.name} beside it; add it, or give its words by "
            "--reference-text"
        )
        return None
    text = _tried(lambda: read_transcript(transcript), problems)
    # As shards have it.
    return strip_annotations(text).strip() if text else None


def _tried(action: Callable[[], Result], problems: list[str]) -> Result | None:
    """Do something; None, and a problem, if it cannot be done."""
    try:
        return action()
    except FishdvcError as error:
        problems.append(str(error))
        return None
