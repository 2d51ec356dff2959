"""The command ``fishdvc speak``: its options, and the order of its steps."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from fishdvc.errors import FishdvcError, ParamsError, printable
from fishdvc.generation.settings import MAX_PART_S, Sampling

DEFAULT_BASE = Path("data/base")
DEFAULT_MERGED = Path("data/merged")


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its options to the parser of ``fishdvc``."""
    parser = commands.add_parser(
        "speak",
        help="speak a text into a sound file",
        description="Speak a text with a fine-tuned model, or with the base and adapters. A long "
        "text is split at sentence ends, and each part continues the earlier ones.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=speak)
    add = parser.add_argument
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("text", nargs="?", metavar="TEXT", help="text to speak, in quotes")
    text.add_argument("--text-file", metavar="FILE", type=Path, help="UTF-8 file to speak instead")
    add("-o", "--output", type=Path, required=True, help="file to write: .wav, .flac or .mp3")
    checkpoint = f"folder of the model (default: {DEFAULT_MERGED}; with --adapter: {DEFAULT_BASE})"
    add("--checkpoint", type=Path, help=checkpoint)
    adapter = """adapter in PEFT's format to use with the model, such as data/lora/step_000000010;
        may be repeated: each adapter writes its own file, such as hello.step_000000010.wav, and
        all share one model in memory"""
    add("--adapter", type=Path, action="append", default=[], help=adapter)
    codec = f"weights of the codec (default: those in the checkpoint, else in {DEFAULT_BASE})"
    add("--codec", type=_file, help=codec)
    config = "JSON of the codec (default: the file beside its weights, else the published codec's)"
    add("--codec-config", type=_file, help=config)
    reference = "clip of the voice to speak in; may be repeated"
    add("--reference", type=_file, action="append", default=[], help=reference)
    transcript = "text of a reference, once for each (default: the transcript beside the clip)"
    add("--reference-text", action="append", default=[], help=transcript)
    params = "file whose section normalize has the loudness of references (default: %(default)s)"
    add("--params", type=Path, default="params.yaml", help=params)
    seed = "random seed (default: %(default)s)"
    add("--seed", type=int, default=42, help=seed)
    temperature = "above 0; low is steady, high is lively (default: %(default)s)"
    add("--temperature", type=float, default=Sampling.temperature, help=temperature)
    top_p = """draw from the most likely choices up to this total probability, at most 1
        (default: %(default)s)"""
    add("--top-p", type=float, default=Sampling.top_p, help=top_p)
    penalty = "above 1: make codes of the last 16 frames less likely (default: %(default)s)"
    add("--repetition-penalty", type=float, default=Sampling.repetition_penalty, help=penalty)
    part = "maximum length of one part, 0.1 to 3600 seconds (default: %(default)s)"
    add("--max-part-s", type=float, default=MAX_PART_S, help=part)
    device = """where to compute, in bfloat16 on a CUDA GPU that has it, else in float32
        (default: %(default)s)"""
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help=device)


def speak(arguments: argparse.Namespace) -> None:
    """Check the arguments, speak the text and write the output files.

    Raises:
        FishdvcError: An argument cannot be used, or the model gave no speech.
    """
    start_s = time.monotonic()
    # Import late, so that --help is fast and wrong arguments are reported before torch is loaded.
    from fishdvc.cli import inputs

    sampling = Sampling(
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
    )
    if not 0.1 <= arguments.max_part_s <= 3600:
        raise ParamsError(f"--max-part-s: expected 0.1 to 3600, got {arguments.max_part_s}")
    adapters = arguments.adapter
    checkpoint = arguments.checkpoint or (DEFAULT_BASE if adapters else DEFAULT_MERGED)
    inputs.check_folders(checkpoint, adapters)
    codec = arguments.codec or inputs.find_codec([checkpoint, DEFAULT_BASE])
    outputs = inputs.name_outputs(arguments.output, adapters)
    inputs.check_outputs(outputs, sources=[*arguments.reference, arguments.text_file])
    text = inputs.read_text(arguments.text, arguments.text_file)
    clips = inputs.read_references(arguments.reference, arguments.reference_text, arguments.params)
    if adapters and checkpoint.resolve() == DEFAULT_MERGED.resolve():
        _note(f"{checkpoint} already contains an adapter, and --adapter adds another")

    from fishdvc.cli import synthesis
    from fishdvc.generation.loading import load_synthesizer

    synthesizer = load_synthesizer(checkpoint, codec, arguments.codec_config, arguments.device)
    spoken = synthesis.speak_outputs(
        synthesizer,
        checkpoint,
        outputs,
        text,
        seed=arguments.seed,
        clips=clips,
        sampling=sampling,
        max_part_s=arguments.max_part_s,
    )
    silent = []
    for output, speech in spoken:
        duration_s = len(speech.samples) / speech.sample_rate_hz
        if not duration_s:
            silent.append(str(output))
            continue
        synthesis.write(output, speech)
        if not speech.ended:
            _note(
                f"{output}: cut off at {arguments.max_part_s:g} s; try another --seed, or a "
                "larger --max-part-s"
            )
        elapsed_s = time.monotonic() - start_s
        print(f"{output}: {duration_s:.1f} s of speech in {elapsed_s:.1f} s, seed {arguments.seed}")
    if silent:
        raise FishdvcError(
            f"{', '.join(silent)}: not written, because the model gave no speech; try another "
            "--seed, or a --reference"
        )


def _note(message: str) -> None:
    print(printable(f"note: {message}"), file=sys.stderr)


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        problem = "expected a file, got a folder" if path.is_dir() else "no such file"
        raise argparse.ArgumentTypeError(f"{path}: {problem}")
    return path
