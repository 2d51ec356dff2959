"""Speak for ``fishdvc speak``, and write files.

Every function raises a FishdvcError if a file is damaged or does not fit the others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import soundfile
import torch
from tqdm import tqdm

from fishdvc.audio.export import write_speech
from fishdvc.audio.waveform import Waveform
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Speech, Synthesizer
from fishdvc.lora.files import Adapter
from fishdvc.lora.merge import read_adapter_for, use_adapter
from fishdvc.model.checkpoint import load_weights
from fishdvc.model.dual_ar import DualAR
from fishdvc.storage.atomic import atomic_file


def speak_outputs(
    synthesizer: Synthesizer,
    checkpoint: Path,
    outputs: Mapping[Path, Path | None],
    text: str,
    *,
    seed: int,
    clips: Sequence[tuple[Waveform, str]],
    sampling: Sampling,
    max_part_s: float,
) -> Iterator[tuple[Path, Speech]]:
    """Speak a text once for each output file with its adapter, and yield the file and the speech.

    A progress bar is shown on a terminal. Adapters are merged into the synthesizer's model, which
    was loaded from ``checkpoint``.
    """
    adapters = _read_adapters(synthesizer.model, filter(None, outputs.values()))
    base = load_weights(checkpoint / "model.pth") if adapters else {}
    references = [
        synthesizer.encode_reference(torch.from_numpy(clip.samples), clip.sample_rate_hz, words)
        for clip, words in clips
    ]
    for output, folder in outputs.items():
        if folder:
            use_adapter(synthesizer.model, base, adapters[folder])
        with tqdm(desc=output.name, unit=" frames", disable=None, leave=False) as bar:
            (speech,) = synthesizer.speak(
                [(text, references)],
                seeds=[seed],
                sampling=sampling,
                max_part_s=max_part_s,
                on_frame=bar.update,
            )
        yield output, speech


def _read_adapters(model: DualAR, folders: Iterable[Path]) -> dict[Path, Adapter]:
    """Read adapters of a base. The error lists the problems of all of them."""
    adapters, problems = {}, []
    for folder in folders:
        try:
            adapters[folder] = read_adapter_for(model, folder)
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError("\n".join(problems))
    return adapters


def write(output: Path, speech: Speech) -> None:
    """Write speech to a file atomically."""
    waveform = Waveform(samples=speech.samples.numpy(), sample_rate_hz=speech.sample_rate_hz)
    try:
        with atomic_file(output) as partial:
            write_speech(partial, waveform, suffix=output.suffix.lower())
    except (OSError, soundfile.SoundFileError) as error:
        raise ParamsError(f"{output}: cannot be written: {error}") from error
