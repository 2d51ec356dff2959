"""Stage ``extract_vq``: encode each normalized clip to codes, one ``.npy`` file per clip."""

import functools
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchaudio.functional
from pydantic import Field

from fishdvc.audio import waveform
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec import checkpoint
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import codec_config_path
from fishdvc.corpus.bad_clips import fail_or_report
from fishdvc.device import choose_device
from fishdvc.errors import CheckpointError
from fishdvc.machine import MachineParams
from fishdvc.parallel import map_in_threads
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams, external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.validation import Checked


class ExtractVqParams(Checked):
    """Section ``extract_vq`` of params.yaml."""

    codec_config: str | None = Field(
        description="JSON config of the codec. null: the one beside the codec's file, if any."
    )


def extract_vq(
    base_params: BaseParams,
    dataset: DatasetParams,
    params: ExtractVqParams,
    machine: MachineParams,
    *,
    base: Path,
    normalized: Path,
    codes: Path,
    skipped: Path,
    metrics: Path,
) -> str:
    """Write the codes of each clip to ``<clip>.npy``, uint16 ``(num_codebooks, frames)``.

    The codes of a clip do not depend on the other clips. The codec is loaded only if a clip is not
    in the cache.

    Args:
        base_params: Name of the codec's file.
        dataset: What to do with clips that are shorter than a frame.
        params: Config of the codec.
        machine: Device and number of threads.
        base: Folder of the base model.
        normalized: Folder of FLAC files.
        codes: Folder to write. Replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts to.

    Returns:
        Summary of the stage in one line.

    Raises:
        AudioError: A clip cannot be read.
        CheckpointError: The codec cannot be loaded.
        DatasetError: Clips are too short and ``on_bad_clip`` is ``fail``, or no clip is usable.
        ParamsError: ``codec_config`` is not a file that DVC tracks.
    """
    start_s = time.monotonic()
    codec_checkpoint = base / base_params.codec_file
    config_file = codec_config_path(codec_checkpoint)
    if params.codec_config:
        config_file = external_path(
            params.codec_config, stage="extract_vq", param="extract_vq.codec_config"
        )
    codec_key = _codec_key(codec_checkpoint, config_file)
    cache = project_cache("extract_vq")
    clips = sorted(normalized.rglob("*.flac"))
    new: dict[Path, str] = {}
    too_short = []
    with atomic_folder(codes) as folder:
        for audio in clips:
            destination = folder / audio.relative_to(normalized).with_suffix(".npy")
            destination.parent.mkdir(parents=True, exist_ok=True)
            key = combined_key(content_hash(audio), codec_key)
            if not cache.fetch(key, destination):
                new[audio] = key
        if new:
            device = choose_device(machine.accelerator)
            codec = load_codec(codec_checkpoint, config_file, device=device, decoder=False)
            if device.type == "cpu":
                torch.set_num_threads(1)  # The clips are encoded in parallel, each on one core.
            # The longest clips first, so that all threads finish at about the same time.
            ordered = sorted(new, key=lambda audio: audio.stat().st_size, reverse=True)
            encode = functools.partial(_encode_clip, codec=codec)
            results = map_in_threads(encode, ordered, workers=machine.workers, label="extract_vq")
            for audio, result in zip(ordered, results, strict=True):
                if isinstance(result, str):
                    too_short.append(result)
                    continue
                destination = folder / audio.relative_to(normalized).with_suffix(".npy")
                np.save(destination, result)
                cache.store(new[audio], destination)
        num_good = len(clips) - len(too_short)
        fail_or_report(
            "extract_vq",
            sorted(too_short),
            num_good=num_good,
            on_bad_clip=dataset.on_bad_clip,
            report=skipped,
        )
        usage = _codebook_usage(folder)
    write_metrics(metrics, {"num_clips": num_good, "num_skipped": len(too_short), **usage})
    return (
        f"extract_vq: {num_good} clips, {usage['num_frames']} frames, "
        f"{usage['mean_codebook_entropy_bits']} bits in a codebook, {len(too_short)} skipped, "
        f"{len(clips) - len(new)} unchanged, {time.monotonic() - start_s:.1f} s"
    )


def _codec_key(codec_checkpoint: Path, config: Path) -> str:
    if not codec_checkpoint.is_file():
        raise CheckpointError(
            f"{codec_checkpoint}: no such file; correct base.codec_checkpoint in params.yaml, "
            "or run fetch_base again"
        )
    code = [Path(__file__), Path(waveform.__file__), *imported_files(Path(checkpoint.__file__))]
    return combined_key(*map(content_hash, [codec_checkpoint, config, *code]))


def _encode_clip(path: Path, *, codec: Codec) -> npt.NDArray[np.uint16] | str:
    recorded = read_waveform(path)
    rate_hz = codec.config.sample_rate_hz
    samples = torchaudio.functional.resample(
        torch.from_numpy(recorded.samples), recorded.sample_rate_hz, rate_hz
    )
    if len(samples) < codec.min_num_samples:
        return (
            f"{path}: {recorded.duration_s:.3f} s is too short for a frame of codes "
            f"(at least {codec.min_num_samples / rate_hz:.3f} s); remove the clip"
        )
    audio = samples[None].to(codec.device)
    codes, _ = codec.encode(audio, torch.tensor([len(samples)]))
    return codes[0].cpu().numpy().astype(np.uint16)


def _codebook_usage(folder: Path) -> dict[str, float | int]:
    """Return the number of frames and the mean entropy of a codebook (at most log2 1000 = 9.97)."""
    codes = np.concatenate([np.load(path) for path in folder.rglob("*.npy")], axis=1)
    shares = [np.unique(row, return_counts=True)[1] / len(row) for row in codes]
    entropy_bits = np.mean([-(row * np.log2(row)).sum() for row in shares])
    return {
        "num_frames": codes.shape[1],
        "mean_codebook_entropy_bits": round(float(entropy_bits), 3),
    }
