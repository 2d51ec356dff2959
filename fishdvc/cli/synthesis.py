"""Load what ``fishdvc speak`` needs, and speak: one model for all adapters."""

import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import torch
from tqdm import tqdm

from fishdvc.cli.reference_clip import ReferenceClip
from fishdvc.cli.speak_request import (
    DEFAULT_MERGED,
    SpeakRequest,
    raise_problems,
)
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.device import choose_device
from fishdvc.errors import CheckpointError
from fishdvc.generation.synthesizer import MAX_PART_CHARACTERS, Speech, Synthesizer
from fishdvc.lora.apply import applied_adapter
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import Adapter, mismatches
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.text.split import split_text
from fishdvc.text.tokenizer import load_tokenizer

MIN_DIM_FOR_THREADS = 512
"""Products of narrower models are done before threads have met: they spin, and take the time of
whatever else runs (benchmarks/speak.py)."""


def synthesize(request: SpeakRequest) -> Iterator[tuple[Path, Speech]]:
    """Speak a text once for each output.

    Yields:
        Each output with its speech, as soon as it is spoken.

    Raises:
        FishdvcError: A file is damaged, or the files do not go together.
    """
    device = choose_device(request.device)
    model = load_dual_ar(request.checkpoint, dtype=_compute_type(device), device=device)
    if device.type == "cpu" and model.config.dim < MIN_DIM_FOR_THREADS:
        torch.set_num_threads(1)
    codec = load_codec(request.codec, request.codec_config, device=device)
    problems = _codec_problems(request, model, codec)
    problems += [
        problem for clip in request.references for problem in _reference_problems(clip, codec)
    ]
    adapters = {
        folder: _read_fitting(folder, model, problems)
        for folder in request.outputs.values()
        if folder is not None
    }
    raise_problems(problems)
    if adapters and request.checkpoint.resolve() == DEFAULT_MERGED.resolve():
        print(
            f"note: {request.checkpoint} has an adapter in it already, and --adapter comes on top",
            file=sys.stderr,
        )
    synthesizer = Synthesizer(model, codec, load_tokenizer(request.checkpoint))
    references = [
        synthesizer.encode_reference(
            torch.from_numpy(clip.waveform.samples), clip.waveform.sample_rate_hz, clip.text
        )
        for clip in request.references
    ]
    num_parts = len(split_text(request.text, MAX_PART_CHARACTERS))
    for output, folder in request.outputs.items():
        adapter = adapters[folder] if folder is not None else None
        with (
            applied_adapter(model, adapter) if adapter else nullcontext(),
            _FrameBar(output.name, num_parts) as bar,
        ):
            (speech,) = synthesizer.speak(
                [request.text],
                seeds=[request.seed],
                references=references,
                sampling=request.sampling,
                max_part_s=request.max_part_s,
                on_frame=bar.show,
            )
        yield output, speech


def _compute_type(device: torch.device) -> torch.dtype:
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _codec_problems(request: SpeakRequest, model: DualAR, codec: Codec) -> list[str]:
    expected, got = model.config.num_codebooks, codec.config.num_codebooks
    size, most = codec.config.codebook_size, model.config.codebook_size
    if expected == got and size <= most:
        return []
    return [
        f"{request.codec}: a codec of {expected} codebooks of at most {most} codes expected by "
        f"{request.checkpoint}, got {got} of {size}; give its own by --codec"
    ]


def _reference_problems(clip: ReferenceClip, codec: Codec) -> Iterator[str]:
    rate_hz = codec.config.sample_rate_hz
    # As resampling rounds.
    num_samples = math.ceil(len(clip.waveform.samples) * rate_hz / clip.waveform.sample_rate_hz)
    if num_samples < codec.min_num_samples:
        yield (
            f"{clip.path}: {clip.waveform.duration_s:.3f} s is too short for a reference; the "
            f"codec needs {codec.min_num_samples / rate_hz:.3f} s, and a voice some seconds"
        )


def _read_fitting(folder: Path, model: DualAR, problems: list[str]) -> Adapter | None:
    try:
        adapter = read_adapter(folder)
    except CheckpointError as error:
        problems.append(str(error))
        return None
    if differences := mismatches(model.state_dict(), adapter):
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        problems.append(f"{folder}: trained on another base: {differences[0]}{more}")
    return adapter


class _FrameBar:
    """A progress bar of frames, on a terminal only; where a part ends, nobody knows beforehand."""

    def __init__(self, label: str, num_parts: int) -> None:
        self.label, self.num_parts = label, num_parts
        self.part = self.num_frames = 0
        self.bar: tqdm[NoReturn] = tqdm(
            desc=label, unit=" frames", disable=not sys.stderr.isatty(), leave=False
        )

    def show(self, num_frames: int) -> None:
        """Show how many frames the present part has."""
        if num_frames <= self.num_frames or not self.part:
            self.num_frames = 0
            self.part += 1
            if self.num_parts > 1:
                self.bar.set_description_str(f"{self.label}, part {self.part} of {self.num_parts}")
        self.bar.update(num_frames - self.num_frames)
        self.num_frames = num_frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()
