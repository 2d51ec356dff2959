"""Stage ``extract_vq``: encode every normalized clip to the codec's codes, one ``.npy`` each."""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torchaudio.functional
from pydantic import Field

from fishdvc.audio import waveform
from fishdvc.audio.waveform import read_waveform
from fishdvc.base.folder import codec_config_beside
from fishdvc.codec import checkpoint
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.corpus.bad_clips import OnBadClip, fail_or_report
from fishdvc.device import choose_device
from fishdvc.errors import AudioError, CheckpointError
from fishdvc.machine import MachineParams
from fishdvc.parallel import map_ahead, num_workers, progress
from fishdvc.pipeline.shared_params import external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import (
    FileCache,
    code_hash,
    combined_key,
    content_hash,
    project_cache,
)
from fishdvc.storage.imports import imported_files
from fishdvc.validation import Checked

Codes = npt.NDArray[np.uint16]


class ExtractVqParams(Checked):
    """Section ``extract_vq`` of params.yaml."""

    codec_config: str | None = Field(
        description="JSON config of the codec. null: the one beside the codec's file, if any."
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A clip that is not in the cache."""

    name: str
    audio: Path
    duration_s: float
    key: str


def extract_vq(
    params: ExtractVqParams,
    machine: MachineParams,
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
    before by the same codec come from the cache; without new ones the codec is not loaded.

    Args:
        params: Config of the codec.
        machine: Device and number of threads.
        codec_checkpoint: The codec's weights.
        normalized: Folder of FLAC files.
        on_bad_clip: What to do about clips too short to make a frame.
        codes: Folder to write; replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts to.

    Returns:
        One line for people.

    Raises:
        CheckpointError: The codec cannot be loaded.
        DatasetError: There are bad clips and they may not be skipped, or no clip is left.
    """
    start_s = time.monotonic()
    config_file = codec_config_beside(codec_checkpoint)
    if params.codec_config:
        config_file = external_path(
            params.codec_config, stage="extract_vq", param="extract_vq.codec_config"
        )
    encoder = _encoder_key(codec_checkpoint, config_file)
    config = CodecConfig.read(config_file) if config_file else CodecConfig.firefly()
    cache = project_cache("extract_vq")
    clips = sorted(normalized.rglob("*.flac"))
    with atomic_folder(codes) as folder:
        jobs = list(_clips_to_encode(clips, normalized, folder, encoder, cache))
        problems: list[_Job] = []
        num_encoded = 0
        if jobs:
            codec = load_codec(
                codec_checkpoint, config, device=choose_device(machine.accelerator), decoder=False
            )
            problems = [job for job in jobs if _too_short(job, codec)]
            jobs = [job for job in jobs if not _too_short(job, codec)]
            num_encoded = len(list(_encode_all(codec, jobs, folder, cache, machine.workers)))
        least_s = codec.min_num_samples / codec.config.sample_rate_hz if problems else 0.0
        problem_lines = [
            f"{job.audio}: {job.duration_s:.3f} s is too short to make a frame of codes "
            f"(at least {least_s:.3f} s); remove the clip"
            for job in problems
        ]
        num_good = len(clips) - len(problems)
        fail_or_report(
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
        code_hash(
            [Path(__file__), Path(waveform.__file__), *imported_files(Path(checkpoint.__file__))]
        ),
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
