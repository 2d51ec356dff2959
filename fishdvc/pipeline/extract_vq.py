"""Stage ``extract_vq``: encode every normalized clip to the codec's codes, one ``.npy`` each."""

import functools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torchaudio.functional

import fishdvc.codec
from fishdvc.audio import mel, waveform
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec import Codec, CodecConfig, load_codec
from fishdvc.device import choose_device
from fishdvc.errors import AudioError, CheckpointError
from fishdvc.files.base_folder import codec_config_beside
from fishdvc.files.cache import (
    FileCache,
    code_hash,
    combined_key,
    content_hash,
    project_cache,
)
from fishdvc.files.outputs import fresh_folder, write_metrics
from fishdvc.files.parallel import map_ahead, num_workers, progress
from fishdvc.files.problems import OnBadClip, settle_problems
from fishdvc.files.ranks import Rank, check_alone, run_on_ranks
from fishdvc.params import param

Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class ExtractVqParams:
    """Section ``extract_vq`` of params.yaml."""

    codec_config: str | None = param(
        "JSON of the codec's shape; null means the one beside the codec's file, or the published."
    )
    workers: int = param(
        "Clips encoded side by side, each on one core; 0 means one for each core.", at_least=0
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = param("Where the codec runs.")
    devices: int | Literal["auto"] = param(
        "Processes on each machine that share the clips, each on a device of its own; auto means "
        "one for each GPU.",
        at_least=1,
    )
    num_nodes: int = param("Machines that share the clips.", at_least=1)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A clip that is not in the cache."""

    name: str
    audio: Path
    duration_s: float
    key: str


def extract_vq(
    params: ExtractVqParams,
    *,
    codec_checkpoint: Path,
    normalized: Path,
    on_bad_clip: OnBadClip,
    codes: Path,
    skipped: Path,
    metrics: Path,
) -> str:
    """Write the codes of every clip: the same tree, ``<clip>.npy``, uint16 (num_codebooks, frames).

    A clip gets the codes that it gets alone, whatever clips are encoded beside it. Clips seen
    before by the same codec come from the cache; without new ones the codec is not loaded. Several
    processes encode into that cache, each its own clips, before the first one writes.

    Args:
        params: Codec, workers, devices.
        codec_checkpoint: The codec's weights.
        normalized: Folder of FLAC files.
        on_bad_clip: What to do about clips too short to make a frame.
        codes: Folder to write; replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts to.

    Returns:
        One line for people; nothing on processes that only helped.

    Raises:
        CheckpointError: The codec cannot be loaded.
        DatasetError: There are bad clips and they may not be skipped, or no clip is left.
        RankError: One of several processes died.
    """
    start_s = time.monotonic()
    config_file = Path(params.codec_config) if params.codec_config else None
    config_file = config_file or codec_config_beside(codec_checkpoint)
    encoder = _encoder_key(codec_checkpoint, config_file)
    config = CodecConfig.read(config_file) if config_file else CodecConfig.firefly()
    cache = project_cache("extract_vq")
    clips = sorted(normalized.rglob("*.flac"))
    num_encoded = 0
    devices = _num_devices(params)
    if devices > 1 or params.num_nodes > 1:
        encode_share = functools.partial(
            _encode_share,
            clips=clips,
            normalized=normalized,
            load=functools.partial(load_codec, codec_checkpoint, config, decoder=False),
            encoder=encoder,
            cache=cache,
            workers=params.workers,
        )
        encoded = run_on_ranks(
            "extract_vq",
            encode_share,
            accelerator=params.device,
            devices=devices,
            num_nodes=params.num_nodes,
        )
        if encoded is None:
            return ""
        num_encoded = encoded
    else:
        check_alone("extract_vq")
    with fresh_folder(codes) as folder:
        jobs = list(_clips_to_encode(clips, normalized, folder, encoder, cache))
        problems: list[_Job] = []
        if jobs:
            codec = load_codec(
                codec_checkpoint, config, device=choose_device(params.device), decoder=False
            )
            problems = [job for job in jobs if _too_short(job, codec)]
            jobs = [job for job in jobs if not _too_short(job, codec)]
            num_encoded += len(list(_encode_all(codec, jobs, folder, cache, params.workers)))
        least_s = codec.min_num_samples / codec.config.sample_rate_hz if problems else 0.0
        problem_lines = [
            f"{job.audio}: {job.duration_s:.3f} s is too short to make a frame of codes "
            f"(at least {least_s:.3f} s); remove the clip"
            for job in problems
        ]
        num_good = len(clips) - len(problems)
        settle_problems(
            "extract_vq",
            problem_lines,
            num_good=num_good,
            on_bad_clip=on_bad_clip,
            report=skipped,
        )
        usage = _codebook_usage(folder, config)
    write_metrics(metrics, {"num_clips": num_good, "num_skipped": len(problems), **usage})
    return (
        f"extract_vq: {num_good} clips, {usage['num_frames']} frames, "
        f"{usage['mean_codebook_entropy_bits']} bits in a codebook, {len(problems)} skipped, "
        f"{num_good - num_encoded} unchanged, {time.monotonic() - start_s:.1f} s"
    )


def _encoder_key(codec_checkpoint: Path, config: Path | None) -> str:
    for name, path in (("codec_checkpoint", codec_checkpoint), ("codec_config", config)):
        if path and not path.is_file():
            raise CheckpointError(
                f"{path}: no such file; mend {name} in params.yaml, or run fetch_base again"
            )
    return combined_key(
        content_hash(codec_checkpoint),
        content_hash(config) if config else None,
        code_hash([sys.modules[__name__], fishdvc.codec, mel, waveform]),
    )


def _clips_to_encode(
    clips: Sequence[Path], normalized: Path, folder: Path, encoder: str, cache: FileCache
) -> Iterator[_Job]:
    """Copy what the cache has; yield the rest."""
    for clip in clips:
        name = clip.relative_to(normalized).with_suffix("").as_posix()
        key = combined_key(content_hash(clip), encoder)
        destination = folder / f"{name}.npy"
        destination.parent.mkdir(parents=True, exist_ok=True)
        if not cache.fetch(key, destination):
            yield _Job(name=name, audio=clip, duration_s=_duration_s(clip), key=key)


def _encode_share(
    rank: Rank,
    *,
    clips: Sequence[Path],
    normalized: Path,
    load: Callable[..., Codec],
    encoder: str,
    cache: FileCache,
    workers: int,
) -> int:
    """Encode one rank's part of the clips into the cache; return how many were not there yet."""
    jobs = []
    for clip in rank.share(clips, [_duration_s(clip) for clip in clips]):
        key = combined_key(content_hash(clip), encoder)
        if not cache.holds(key):
            name = clip.relative_to(normalized).with_suffix("").as_posix()
            jobs.append(_Job(name=name, audio=clip, duration_s=_duration_s(clip), key=key))
    if not jobs:
        return 0
    codec = load(device=torch.device(rank.device))
    # Who assembles the folder speaks of the others.
    jobs = [job for job in jobs if not _too_short(job, codec)]
    with tempfile.TemporaryDirectory() as folder:
        for path in _encode_all(codec, jobs, Path(folder), cache, rank.workers(workers)):
            path.unlink()
    return len(jobs)


def _duration_s(clip: Path) -> float:
    try:
        return float(soundfile.info(clip).duration)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{clip}: not readable as audio ({error}); run normalize again") from error


def _too_short(job: _Job, codec: Codec) -> bool:
    rate_hz = codec.config.sample_rate_hz
    # Resampling rounds up to whole samples, but not what float arithmetic leaves behind them.
    return math.ceil(round(job.duration_s * rate_hz, 6)) < codec.min_num_samples


def _encode_all(
    codec: Codec, jobs: Sequence[_Job], folder: Path, cache: FileCache, workers: int
) -> Iterator[Path]:
    """Encode clips side by side, each on one core: nothing is padded, no core waits for another.

    Yields:
        Each file of codes, written and in the cache.
    """
    if codec.device.type == "cpu":
        torch.set_num_threads(1)
    encode = functools.partial(_encode_clip, codec=codec)
    # The longest first: whatever is left at the end is short.
    ordered = sorted(jobs, key=lambda job: (-job.duration_s, job.name))
    results = map_ahead(encode, ordered, threads=num_workers(workers))
    pairs = zip(ordered, results, strict=True)
    for job, codes in progress(pairs, total=len(ordered), label="extract_vq"):
        destination = folder / f"{job.name}.npy"
        destination.parent.mkdir(parents=True, exist_ok=True)
        np.save(destination, codes)
        cache.store(job.key, destination)
        yield destination


def _encode_clip(job: _Job, *, codec: Codec) -> Codes:
    recorded = read_waveform(job.audio)
    samples = torchaudio.functional.resample(
        torch.from_numpy(recorded.samples), recorded.sample_rate_hz, codec.config.sample_rate_hz
    )
    audio = samples[None].to(codec.device)
    codes, _ = codec.encode(audio, torch.tensor([audio.shape[1]], device=codec.device))
    return codes[0].cpu().numpy().astype(np.uint16)


def _codebook_usage(folder: Path, config: CodecConfig) -> dict[str, float | int]:
    """Count frames, and measure how much of the codebooks is used (log2 1000 = 9.97 bits)."""
    counts = np.zeros((config.num_codebooks, config.codebook_size), dtype=np.int64)
    for path in sorted(folder.rglob("*.npy")):
        for row, found in zip(counts, np.load(path), strict=True):
            row += np.bincount(found, minlength=config.codebook_size)
    num_frames = int(counts[0].sum())
    shares = counts / max(num_frames, 1)
    logs = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    entropy_bits = -(shares * logs).sum(axis=1)
    return {
        "num_frames": num_frames,
        "mean_codebook_entropy_bits": round(float(entropy_bits.mean()), 3),
    }


def _num_devices(params: ExtractVqParams) -> int:
    """Number of processes on each machine."""
    if params.devices != "auto":
        return params.devices
    on_gpus = params.device in ("auto", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpus else 1
