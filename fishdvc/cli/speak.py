"""The command ``fishdvc speak``: its options, and what it says when it is done.

Starts without torch.
"""

import argparse
import sys
import time
from typing import Any

import soundfile

from fishdvc.audio.export import write_for_listening
from fishdvc.audio.waveform import Waveform
from fishdvc.cli.speak_request import DEFAULT_BASE, DEFAULT_MERGED, check_request
from fishdvc.errors import FishdvcError, ParamsError, list_problems
from fishdvc.generation.settings import MAX_PART_S, Sampling
from fishdvc.storage.atomic import atomic_file

DEFAULT_SEED = 42
DESCRIPTION = """Speak a text with a fine-tuned model, or with adapters over their base.
Long text is split at sentence ends, and each part hears the earlier ones."""


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its options; what they hold is judged later, all of it at once."""
    parser = commands.add_parser(
        "speak", help="speak a text into a sound file", description=DESCRIPTION, allow_abbrev=False
    )
    parser.set_defaults(command=speak)
    default = Sampling()
    options: dict[str, tuple[str | None, str, dict[str, Any]]] = {
        "--text-file": ("FILE", "speak this UTF-8 file instead, as one text", {}),
        "--checkpoint": (
            "FOLDER",
            f"the model ({DEFAULT_MERGED}; with --adapter {DEFAULT_BASE})",
            {},
        ),
        "--adapter": (
            "FOLDER",
            "an adapter in PEFT's format, such as data/lora/step_000000010, put over the model "
            "without merging; given several times, each speaks into a file of its own, as "
            "hello.step_000000010.wav, and they share one model in memory",
            {"action": "append", "default": []},
        ),
        "--codec": (
            "FILE",
            f"the codec's weights (those in the checkpoint's folder, else in {DEFAULT_BASE})",
            {},
        ),
        "--codec-config": (
            "FILE",
            "JSON of the codec's shape (the one beside its weights, else the published codec's)",
            {},
        ),
        "--reference": (
            "CLIP",
            "a clip of the voice to speak in; may be given several times",
            {"action": "append", "default": []},
        ),
        "--reference-text": (
            "TEXT",
            "what the reference says, for each in its order (the transcript beside it)",
            {"action": "append", "default": []},
        ),
        "--params": (
            "FILE",
            "references are brought to the loudness that its section normalize has, as the "
            "clips were for training (params.yaml)",
            {"default": "params.yaml"},
        ),
        "--output": ("FILE", "where to write: .wav, .flac or .mp3", {}),
        "--seed": (
            "N",
            f"another seed speaks otherwise ({DEFAULT_SEED})",
            {"default": DEFAULT_SEED},
        ),
        "--temperature": (
            "X",
            f"above 0; lower is steadier, higher livelier ({default.temperature})",
            {"default": default.temperature},
        ),
        "--top-p": (
            "X",
            f"keep the likeliest choices that have this probability together ({default.top_p})",
            {"default": default.top_p},
        ),
        "--repetition-penalty": (
            "X",
            f"above 1 makes the codes of the last 16 frames less likely "
            f"({default.repetition_penalty})",
            {"default": default.repetition_penalty},
        ),
        "--max-part-s": (
            "SECONDS",
            f"a part that has not ended by itself ends here ({MAX_PART_S:g})",
            {"default": MAX_PART_S},
        ),
        "--device": (
            "NAME",
            "auto, cpu, cuda or mps (auto); computes in bfloat16 on a CUDA GPU that has it, "
            "else in float32",
            {"default": "auto"},
        ),
    }
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what to say")
    for name, (metavar, meaning, more) in options.items():
        names = ["-o", name] if name == "--output" else [name]
        if metavar:
            more["metavar"] = metavar
        parser.add_argument(*names, help=meaning, **more)


def speak(arguments: argparse.Namespace) -> None:
    """Check the arguments, speak, write, and say so.

    Raises:
        FishdvcError: An argument cannot be used, or nothing came of it.
    """
    start_s = time.monotonic()
    request = check_request(arguments)
    # Imports torch, for which nobody should wait who mistyped a path.
    from fishdvc.cli.synthesis import synthesize

    silent = []
    for output, speech in synthesize(request):
        duration_s = len(speech.samples) / speech.sample_rate_hz
        if not duration_s:
            silent.append(f"{output}: not written, the model ended before it said anything")
            continue
        waveform = Waveform(samples=speech.samples.numpy(), sample_rate_hz=speech.sample_rate_hz)
        try:
            with atomic_file(output) as partial:
                write_for_listening(partial, waveform, suffix=output.suffix.lower())
        except (OSError, soundfile.SoundFileError) as error:
            raise ParamsError(f"{output}: cannot be written: {error}") from error
        elapsed_s = time.monotonic() - start_s
        if not speech.ended:
            print(
                f"note: {output}: cut off at {request.max_part_s:g} s without having ended; "
                "try another --seed, or a larger --max-part-s",
                file=sys.stderr,
            )
        print(f"{output}: {duration_s:.1f} s of speech in {elapsed_s:.1f} s, seed {request.seed}")
    if silent:
        raise _all_of(silent, "speak: try another --seed, or a --reference")


def _all_of(problems: list[str], summary: str) -> FishdvcError:
    if len(problems) == 1:
        return ParamsError(f"{problems[0]}; {summary.removeprefix('speak: ')}")
    return ParamsError(list_problems(summary, problems))
