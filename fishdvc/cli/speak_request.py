"""Judge the arguments of ``fishdvc speak``: every problem at once, and nothing loaded for it.

Starts without torch.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fishdvc.audio.export import writable_suffixes
from fishdvc.base.folder import MODEL_FILES, codec_config_beside
from fishdvc.cli.reference_clip import ReferenceClip, read_references
from fishdvc.errors import ParamsError, list_problems
from fishdvc.generation.settings import MAX_SEED, Sampling
from fishdvc.text.clean import clean_text

DEFAULT_BASE = Path("data/base")
DEFAULT_MERGED = Path("data/merged")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CODEC_SUFFIXES = (".pth", ".pt", ".ckpt")
DEVICES = ("auto", "cpu", "cuda", "mps")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class SpeakRequest:
    """What to speak, with what, into which files; all that can be known without torch is checked.

    Attributes:
        text: Not empty; its white space is single spaces.
        checkpoint: Folder of the model.
        codec: The codec's weights.
        codec_config: JSON of its shape; None for the published codec.
        references: Clips of the voice.
        outputs: Each file to write, and the folder of its adapter, None for the model's own voice.
        seed: For every output.
        sampling: How to draw.
        max_part_s: Longest speech of one part, in seconds.
        device: Name of a device, or ``auto``.
    """

    text: str
    checkpoint: Path
    codec: Path
    codec_config: Path | None
    references: tuple[ReferenceClip, ...]
    outputs: dict[Path, Path | None]
    seed: int
    sampling: Sampling
    max_part_s: float
    device: str


def check_request(arguments: argparse.Namespace) -> SpeakRequest:
    """Turn parsed arguments into a request.

    Raises:
        ParamsError: Some cannot be used: one line for one problem, else a list of all.
    """
    problems: list[str] = []
    adapters = [Path(adapter) for adapter in arguments.adapter]
    checkpoint = Path(arguments.checkpoint or (DEFAULT_BASE if adapters else DEFAULT_MERGED))
    _check_checkpoint(checkpoint, problems)
    for adapter in adapters:
        _check_adapter(adapter, problems)
    codec, codec_config = _codec(arguments, checkpoint, problems)
    outputs = _outputs(arguments.output, adapters, problems)
    request = SpeakRequest(
        text=_text(arguments, problems),
        checkpoint=checkpoint,
        codec=codec,
        codec_config=codec_config,
        references=read_references(arguments, problems),
        outputs=outputs,
        seed=_seed(arguments.seed, problems),
        sampling=_sampling(arguments, problems),
        max_part_s=_max_part_s(arguments.max_part_s, problems),
        device=arguments.device,
    )
    if request.device not in DEVICES:
        problems.append(f"--device: {', '.join(DEVICES)} expected, got {request.device!r}")
    if arguments.output:
        _spare_inputs(arguments, outputs, problems)
    raise_problems(problems)
    return request


def raise_problems(problems: list[str]) -> None:
    """Raise one problem as it is, and several as a list."""
    if len(problems) == 1:
        raise ParamsError(problems[0])
    if problems:
        raise ParamsError(list_problems("speak: mend these", problems))


def _text(arguments: argparse.Namespace, problems: list[str]) -> str:
    text, path = arguments.text, arguments.text_file
    if (text is None) == (path is None):
        given = "neither" if text is None else "both"
        problems.append(f'a text expected, as "Hello there." or by --text-file, got {given}')
        return ""
    where = "text"
    if path is not None:
        where = path
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            problems.append(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8")
            return ""
        except OSError as error:
            problems.append(f"{path}: a text file expected, got: {error.strerror}")
            return ""
    if not clean_text(text):
        problems.append(f"{where}: nothing to be spoken in it; write what to say")
    # Transcripts of training have no line ends either.
    return " ".join(text.split())


def _check_checkpoint(folder: Path, problems: list[str]) -> None:
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if not folder.is_dir():
        problems.append(
            f"{folder}: no such folder; say by --checkpoint where a model is, or run dvc repro"
        )
    elif all((folder / name).is_file() for name in ADAPTER_FILES):
        problems.append(f"{folder}: an adapter, no model; give it by --adapter")
    elif missing:
        problems.append(
            f"{folder}: no model, {' and '.join(missing)} missing; "
            f"give a folder such as {DEFAULT_MERGED} or {DEFAULT_BASE}"
        )


def _check_adapter(folder: Path, problems: list[str]) -> None:
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if folder.is_file():
        problems.append(
            f"{folder}: an adapter's folder expected, got a file; "
            "one of fish-speech's .ckpt must be merged (merge.checkpoint)"
        )
    elif not folder.is_dir():
        problems.append(f"{folder}: no such folder; say by --adapter where an adapter is")
    elif missing:
        problems.append(
            f"{folder}: no adapter, {' and '.join(missing)} missing; "
            "give a folder such as data/lora/step_000000010"
        )


def _codec(
    arguments: argparse.Namespace, checkpoint: Path, problems: list[str]
) -> tuple[Path, Path | None]:
    """Find the codec: the one named, else the only one in the checkpoint, else in the base."""
    codec = Path(arguments.codec) if arguments.codec else None
    if codec is None:
        for folder in (checkpoint, DEFAULT_BASE):
            found = _codecs_in(folder)
            if len(found) > 1:
                names = " and ".join(path.name for path in found)
                problems.append(f"{folder}: one codec expected, got {names}; choose by --codec")
                return found[0], None
            if found:
                codec = found[0]
                break
        else:
            if checkpoint.is_dir():
                problems.append(
                    f"{checkpoint}: no codec in it, nor in {DEFAULT_BASE}; say by --codec where "
                    "its weights are"
                )
            return checkpoint, None
    elif not codec.is_file():
        problems.append(f"{codec}: no such file; say by --codec where the codec's weights are")
    config = codec_config_beside(codec)
    if arguments.codec_config:
        config = Path(arguments.codec_config)
        if not config.is_file():
            problems.append(f"{config}: no such file; --codec-config is a JSON file")
    return codec, config


def _codecs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in CODEC_SUFFIXES and path.name not in MODEL_FILES and path.is_file()
    )


def _outputs(
    output: str | None, adapters: list[Path], problems: list[str]
) -> dict[Path, Path | None]:
    if not output:
        problems.append("no output: say by -o where to write, as -o hello.wav")
        return {}
    path = Path(output)
    suffixes = writable_suffixes()
    if path.suffix.lower() not in suffixes:
        problems.append(f"{path}: {' or '.join(suffixes)} expected as suffix of the output")
    if not path.parent.is_dir():
        problems.append(f"{path}: no folder {path.parent} to write into; make it")
    elif not os.access(path.parent, os.W_OK):
        problems.append(f"{path}: nothing may be written into {path.parent}; write elsewhere")
    if len(adapters) < 2:
        outputs = {path: adapters[0] if adapters else None}
    else:
        outputs = {
            path.with_name(f"{path.stem}.{adapter.resolve().name}{path.suffix}"): adapter
            for adapter in adapters
        }
    if len(outputs) < len(adapters):
        problems.append("--adapter: folders of different names expected, for their outputs' names")
    problems += [f"{path}: a folder; give a file's name" for path in outputs if path.is_dir()]
    return outputs


def _spare_inputs(
    arguments: argparse.Namespace, outputs: dict[Path, Path | None], problems: list[str]
) -> None:
    """Refuse to write over what is read."""
    read = [*arguments.reference, *([arguments.text_file] if arguments.text_file else [])]
    inputs = {Path(path).resolve() for path in read}
    problems += [
        f"{output}: is read, and so not written to; give another output"
        for output in outputs
        if output.resolve() in inputs
    ]


def _number(
    name: str, text: str | float, kind: type[Number], expected: str, problems: list[str]
) -> Number | None:
    try:
        return kind(text)
    except (ValueError, OverflowError):
        problems.append(f"{name}: {expected} expected, got {text!r}")
        return None


def _seed(text: str | int, problems: list[str]) -> int:
    seed = _number("--seed", text, int, "a whole number", problems)
    if seed is not None and not 0 <= seed <= MAX_SEED:
        problems.append(f"--seed: 0 to {MAX_SEED} expected, got {seed}")
    return seed or 0


def _sampling(arguments: argparse.Namespace, problems: list[str]) -> Sampling:
    values = {}
    for name in ("temperature", "top_p", "repetition_penalty"):
        option = f"--{name.replace('_', '-')}"
        value = _number(option, getattr(arguments, name), float, "a number", problems)
        if value is not None:
            values[name] = value
    sampling = Sampling(**values)
    problems += [f"--{problem.replace('_', '-', 1)}" for problem in sampling.problems()]
    return sampling


def _max_part_s(text: str | float, problems: list[str]) -> float:
    seconds = _number("--max-part-s", text, float, "a number", problems)
    if seconds is not None and not 0.1 <= seconds <= 3600:
        problems.append(f"--max-part-s: 0.1 to 3600 seconds expected, got {seconds:g}")
    return seconds or 0.0
