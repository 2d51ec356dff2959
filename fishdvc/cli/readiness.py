"""Check whether this machine and the configured base can do the run, in one line for each."""

import shutil
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
import torch
from packaging.requirements import Requirement

from fishdvc.base.folder import base_files
from fishdvc.base.published import PUBLISHED_FILES, PUBLISHED_REVISION
from fishdvc.cli.estimate import (
    EFFICIENCY,
    FRAME_SHARE,
    GFLOP_PER_CODEC_BYTE_AND_S,
    num_trained,
    step_memory,
    training_gflop,
)
from fishdvc.cli.params import Params
from fishdvc.corpus.numbers import duration
from fishdvc.corpus.report import FRAMES_PER_S
from fishdvc.device import choose_device, has_bfloat16
from fishdvc.errors import FishdvcError
from fishdvc.model.config import DualARConfig, read_config
from fishdvc.pipeline.fetch_base import folder_files
from fishdvc.storage.imports import TOP
from fishdvc.training.memory import USABLE_SHARE
from fishdvc.training.params import base_mismatches

PROCESS_GB = 0.7
"""Memory of a process that has imported PyTorch and Lightning."""
AUDIO_BYTES_PER_S = 2 * 44_100
"""Size of a second of normalized audio, at most at usual sample rates."""
COPIES = 2
"""An output is stored in its folder and in DVC's cache."""
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Line:
    """One line of the output. An ``error`` will certainly stop the run."""

    label: str
    text: str
    level: Level = "ok"


@dataclass(frozen=True)
class FoundBase:
    """What is known about the base.

    Attributes:
        line: The line to print.
        folder: Folder of the model and its tokenizer. None if it is not on this machine.
        config: Sizes of the model, if its config.json is on this machine.
        num_bytes: Size of all files.
        codec_bytes: Size of the codec's weights.
    """

    line: Line
    folder: Path | None = None
    config: DualARConfig | None = None
    num_bytes: int = 0
    codec_bytes: int = 0


def check_packages() -> Line:
    """Compare the installed packages with pyproject.toml."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [Requirement(line) for line in project["dependencies"]]
    problems = []
    for requirement in required:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement} is not installed")
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                problems.append(f"{requirement} is needed, {version} is installed")
    if problems:
        todo = "pip install -c constraints.txt -e ."
        return Line("packages", f"{'; '.join(problems)}; run {todo}", "warning")
    return Line("packages", f"{len(required)} packages in the versions of pyproject.toml")


def check_base(params: Params, base: Path) -> FoundBase:
    """Find the files of the base in its source or in ``base``, the output of ``fetch_base``."""
    source, codec = params.base.source, params.base.codec_file
    licence = ""
    if params.base.revision == PUBLISHED_REVISION and not Path(source).is_dir():
        licence = "; the published weights are not for commercial use (CC-BY-NC-SA 4.0)"
    try:
        if Path(source).is_dir():
            files, text = folder_files(params.base), f"all files are in {source}"
        elif base.is_dir():
            files = base_files(base, codec, todo="run dvc repro fetch_base")
            text = f"all files of {source} are in {base}"
        else:
            num_bytes = sum(file.num_bytes for file in PUBLISHED_FILES.values())
            text = f"fetch_base downloads {source} (the published one has {num_bytes / 1e9:.1f} GB)"
            return FoundBase(Line("base", text + licence), num_bytes=num_bytes)
        config = read_config(files[0])
    except FishdvcError as error:
        return FoundBase(Line("base", str(error), "error"))
    if problems := base_mismatches(params.lora, params.train_lora, config):
        return FoundBase(Line("base", "; ".join(problems), "error"))
    sizes = {path.name: path.stat().st_size for path in files}
    return FoundBase(
        Line("base", text + licence),
        folder=files[0].parent,
        config=config,
        num_bytes=sum(sizes.values()),
        codec_bytes=sizes[codec],
    )


def check_machine(params: Params, base: FoundBase, speech_s: float) -> Iterator[Line]:
    """Check the disk, the device and the memory, and estimate the time.

    Without the base's config.json, memory and time are not estimated.

    Args:
        params: All parameters.
        base: The base.
        speech_s: Length of all clips, in seconds. 0: unknown.
    """
    yield _check_disk(params, base, speech_s)
    line, device, gflops = _check_device(params)
    yield line
    if base.config and line.level != "error":
        yield _check_memory(params, base.config, device)
        if speech_s:
            yield _estimate_time(params, base.config, base.codec_bytes, device, gflops, speech_s)


def _check_disk(params: Params, base: FoundBase, speech_s: float) -> Line:
    """Compare the free space with what the run writes, if no output is there yet."""
    train = params.train_lora
    num_checkpoints = train.max_steps // train.checkpoint_every_steps + 1
    adapter_bytes = 4 * num_trained(base.config, params.lora) if base.config else 0
    num_models = 2 + params.merge.safetensors  # data/base and data/merged
    needed = COPIES * (num_models * base.num_bytes + AUDIO_BYTES_PER_S * speech_s)
    # The run's folder in .fishdvc_cache holds the adapters too.
    needed += (COPIES + 1) * num_checkpoints * adapter_bytes
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / 1e9:.1f} GB free, the run writes about {needed / 1e9:.1f} GB"
    return Line("disk", text, "ok" if needed < free else "warning")


def _check_device(params: Params) -> tuple[Line, torch.device, float]:
    """Return the line, the device and the speed of a matrix product in GFLOP/s."""
    machine = params.machine
    try:
        device = choose_device(machine.accelerator)
    except FishdvcError as error:
        return Line("device", str(error), "error"), torch.device("cpu"), 0.0
    half = has_bfloat16(device)
    gflops = _measure_gflops(device, torch.bfloat16 if half else torch.float32)
    speed = f"{gflops:,.0f} GFLOP/s in {'bfloat16' if half else 'float32'}"
    if device.type != "cuda":
        text = f"{device.type}, {torch.get_num_threads()} threads, {speed}"
        return Line("device", text), device, gflops
    name, count = torch.cuda.get_device_name(), torch.cuda.device_count()
    if machine.devices != "auto" and machine.devices > count:
        text = f"machine.devices: expected at most {count}, got {machine.devices}"
        return Line("device", text, "error"), device, gflops
    if params.train_lora.precision == "bf16-true" and not half:
        text = f"{name} emulates bfloat16 slowly; set train_lora.precision: auto"
        return Line("device", text, "warning"), device, gflops
    return Line("device", f"{count} x {name}, {speed}"), device, gflops


def _check_memory(params: Params, config: DualARConfig, device: torch.device) -> Line:
    """Compare the free memory with an estimate of what a training step needs."""
    train = params.train_lora
    in_half = train.precision == "bf16-true" or (train.precision == "auto" and has_bfloat16(device))
    memory = step_memory(config, params.lora, train, value_bytes=2 if in_half else 4)
    num_checkpointed = memory.num_blocks if train.gradient_checkpointing == "on" else 0
    if device.type == "cuda":
        free, kind = torch.cuda.mem_get_info(device)[0], "GPU memory"
        usable = USABLE_SHARE * free
        if train.gradient_checkpointing == "auto":
            num_checkpointed = memory.blocks_to_checkpoint(free)
    else:
        free, kind = psutil.virtual_memory().available, "memory"
        usable = free - PROCESS_GB * 1e9
    needed = memory.step_bytes(num_checkpointed)
    text = (
        f"{free / 1e9:.1f} GB of {kind} free, a step needs about {needed / 1e9:.1f} GB with "
        f"{num_checkpointed} of {memory.num_blocks} blocks checkpointed"
    )
    if needed <= usable:
        return Line("memory", text)
    todo = "reduce train_lora.batch_size or max_length, or set gradient_checkpointing: on"
    return Line("memory", f"{text}; {todo}", "warning")


def _estimate_time(
    params: Params,
    config: DualARConfig,
    codec_bytes: int,
    device: torch.device,
    gflops: float,
    speech_s: float,
) -> Line:
    """Estimate the time of training and, on a CPU, of encoding, within a factor of about 2."""
    train = params.train_lora
    training_s = training_gflop(config, train) / gflops / EFFICIENCY[device.type]
    text = f"roughly {duration(training_s)} for {train.max_steps} steps"
    if device.type == "cpu":
        encoding_s = speech_s * codec_bytes * GFLOP_PER_CODEC_BYTE_AND_S / gflops
        text += f" and {duration(encoding_s)} to encode the clips"
    num_sequences = train.max_steps * train.accumulate_grad_batches * train.batch_size
    share = 1 - params.build_protos.val_fraction
    tokens_per_epoch = speech_s * FRAMES_PER_S / FRAME_SHARE * share
    return Line("time", f"{text}; {num_sequences * train.max_length / tokens_per_epoch:.1f} epochs")


def _measure_gflops(device: torch.device, dtype: torch.dtype) -> float:
    size, repeats = (1024, 10) if device.type == "cpu" else (8192, 20)
    a = torch.randn(size, size, device=device, dtype=dtype)

    def product_s() -> float:
        start_s = time.perf_counter()
        for _ in range(repeats):
            product = a @ a
        product[0, 0].item()  # Waits for the device.
        return time.perf_counter() - start_s

    product_s()
    return 2e-9 * size**3 * repeats / product_s()
