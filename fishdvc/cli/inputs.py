"""Find, check and read the files of ``fishdvc speak`` without torch.

Every function raises a FishdvcError at the first problem.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from fishdvc.audio.export import writable_suffixes
from fishdvc.audio.waveform import Waveform
from fishdvc.base.folder import MODEL_FILES
from fishdvc.corpus.clips import find_transcript, read_transcript
from fishdvc.errors import AudioError, ParamsError, printable
from fishdvc.params import read_params
from fishdvc.text.clean import invalid_character, is_speakable, strip_annotations
from fishdvc.text.files import read_utf8

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CODEC_SUFFIXES = (".pth", ".pt", ".ckpt")
MIN_REFERENCE_S = 0.1
"""Shortest clip. Every published codec can encode it."""


def check_folders(checkpoint: Path, adapters: Iterable[Path]) -> None:
    """Check that the folders of the model and of the adapters hold the files that they need."""
    _require(
        checkpoint,
        MODEL_FILES,
        "run dvc repro, or set --checkpoint to a model such as data/merged (and not an adapter)",
    )
    for adapter in adapters:
        _require(
            adapter,
            ADAPTER_FILES,
            "set --adapter to a folder such as data/lora/step_000000010; a .ckpt of fish-speech "
            "must be merged first (merge.checkpoint)",
        )


def find_codec(folders: Sequence[Path]) -> Path:
    """Return the only codec's weights in the first folder that holds a codec."""
    for folder in folders:
        files = [path for path in folder.glob("*") if path.suffix in CODEC_SUFFIXES]
        codecs = sorted(path for path in files if path.name not in MODEL_FILES)
        if len(codecs) == 1:
            return codecs[0]
        if codecs:
            names = ", ".join(path.name for path in codecs)
            raise ParamsError(f"{folder}: expected one codec, got {names}; choose with --codec")
    places = " or ".join(map(str, folders))
    raise ParamsError(f"no codec in {places}; set --codec to the file of its weights")


def name_outputs(output: Path, adapters: Sequence[Path]) -> dict[Path, Path | None]:
    """Map each file to write to its adapter. Several adapters add their names to the files."""
    if len(adapters) < 2:
        return {output: adapters[0] if adapters else None}
    names = [adapter.resolve().name for adapter in adapters]
    if len(set(names)) < len(names):
        raise ParamsError(
            f"--adapter: expected different folder names, because they name the outputs, got "
            f"{', '.join(names)}"
        )
    return {
        output.with_name(f"{output.stem}.{name}{output.suffix}"): adapter
        for name, adapter in zip(names, adapters, strict=True)
    }


def check_outputs(outputs: Iterable[Path], sources: Iterable[Path | None]) -> None:
    """Check that each output has a known suffix, can be written and is not one of the sources."""
    # Path.resolve raises a RuntimeError for a link to itself.
    read = {os.path.realpath(source) for source in sources if source}
    suffixes = writable_suffixes()
    for path in outputs:
        if printable(str(path)) != str(path):
            raise ParamsError(
                f"{path}: not UTF-8, or contains control characters; choose another --output"
            )
        if path.suffix.lower() not in suffixes:
            raise ParamsError(f"{path}: expected a file name ending in {', '.join(suffixes)}")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise ParamsError(
                f"{path}: cannot be written: {error.strerror}; choose another folder with --output"
            ) from error
        if path.is_dir():
            raise ParamsError(f"{path}: is a folder; set --output to a file")
        if os.path.realpath(path) in read:
            raise ParamsError(f"{path}: is also an input; choose another --output")


def read_text(text: str | None, path: Path | None) -> str:
    """Return the text to speak, from the argument or from a UTF-8 file."""
    if path is None:
        return _speakable(text or "", "TEXT")
    return _speakable(read_utf8(path), str(path))


def read_references(
    paths: Sequence[Path], texts: Sequence[str], params: Path
) -> list[tuple[Waveform, str]]:
    """Read clips as the stage ``normalize`` does, with their texts or the transcripts beside them.

    The file ``params`` gives the loudness and the suffix of transcripts.
    """
    if texts and len(texts) != len(paths):
        raise ParamsError(
            f"--reference-text: expected one for each of {len(paths)} --reference, got {len(texts)}"
        )
    if not paths:
        return []
    # Imports scipy, which takes a second.
    from fishdvc.pipeline.normalize import NormalizeParams, read_normalized
    from fishdvc.pipeline.shared_params import DatasetParams

    normalize = read_params(params, "normalize", NormalizeParams)
    if not texts:
        suffix = read_params(params, "dataset", DatasetParams).text_extension
        transcripts = [find_transcript(path, suffix) for path in paths]
        texts = [strip_annotations(read_transcript(path)) for path in transcripts]
    clips = []
    for path, text in zip(paths, texts, strict=True):
        waveform, _ = read_normalized(path, normalize)
        if waveform.duration_s < MIN_REFERENCE_S:
            raise AudioError(
                f"{path}: {waveform.duration_s:.3f} s is too short for a reference; use a clip of "
                "a few seconds"
            )
        clips.append((waveform, _speakable(text, f"text of {path}")))
    return clips


def _require(folder: Path, names: Sequence[str], todo: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        problem = f"{', '.join(missing)} missing" if folder.is_dir() else "no such folder"
        raise ParamsError(f"{folder}: {problem}; {todo}")


def _speakable(text: str, where: str) -> str:
    """Return the text with single spaces, as in transcripts for training."""
    if problem := invalid_character(text):
        raise ParamsError(f"{where}: {problem}")
    text = " ".join(text.split())
    if not is_speakable(text):
        raise ParamsError(
            f"{where}: nothing to speak in it; expected a letter or digit outside <...> and {{...}}"
        )
    return text
