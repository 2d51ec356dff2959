"""Stage ``extract_vq``: encode each normalized clip to codes, one ``.npy`` file per clip."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishdvc import device as device_module
from fishdvc.audio import resample as resample_module
from fishdvc.audio import waveform
from fishdvc.audio.resample import resample
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec import checkpoint, layers
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig, codec_config_path
from fishdvc.corpus.bad_clips import fail_or_report
from fishdvc.device import choose_device
from fishdvc.errors import AudioError, CheckpointError, list_problems
from fishdvc.machine import MachineParams
from fishdvc.parallel import map_in_threads
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams, external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import Entry, combined_key, content_hash, project_cache
from fishdvc.storage.folders import list_files
from fishdvc.storage.imports import imported_files
from fishdvc.storage.manifest import MANIFEST, write_manifest
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

    The codes of a clip do not depend on the other clips, except for rounding on devices other than
    the CPU, see ``Codec.encode``. The codec is loaded only if a clip is not in the cache.

    Args:
        base_params: Name of the codec's file.
        dataset: What to do with clips that are too short for the codec.
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
        AudioError: Clips cannot be read.
        CheckpointError: The codec cannot be loaded.
        DatasetError: Clips are too short and ``on_bad_clip`` is ``fail``, or no clip is usable.
        ParamsError: ``codec_config`` is not a file that DVC tracks.
    """
    start_s = time.monotonic()
    codec_checkpoint = base / base_params.codec_file
    config_file = find_codec_config(params, codec_checkpoint)
    device = choose_device(machine.accelerator)
    codec_key = _codec_key(codec_checkpoint, config_file, device)
    config = CodecConfig.read(config_file)
    cache = project_cache("extract_vq")
    clips = list_files(normalized, ".flac")
    new: dict[Path, str] = {}
    known: dict[str, Entry] = {}
    with atomic_folder(codes) as folder:
        for audio in clips:
            name = audio.relative_to(normalized).with_suffix(".npy")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            key = combined_key(content_hash(audio), codec_key)
            if entry := cache.fetch(key, folder / name):
                known[name.as_posix()] = entry
            else:
                new[audio] = key
        num_samples, too_short = _check_lengths(list(new), config)
        num_good = len(clips) - len(too_short)
        fail_or_report(
            "extract_vq",
            too_short,
            num_good=num_good,
            on_bad_clip=dataset.on_bad_clip,
            report=skipped,
        )
        if num_samples:
            codec = load_codec(codec_checkpoint, config, device=device, decoder=False)
            for audio, clip_codes in _encode(codec, num_samples, workers=machine.workers):
                destination = folder / audio.relative_to(normalized).with_suffix(".npy")
                np.save(destination, clip_codes)
                cache.store(new[audio], destination)
        files = list_files(folder)
        usage = _codebook_usage(files)
        write_manifest(folder / MANIFEST, folder, files, known=known)
    write_metrics(metrics, {"num_clips": num_good, "num_skipped": len(too_short), **usage})
    return (
        f"extract_vq: {num_good} clips, {usage['num_frames']} frames, "
        f"{usage['mean_codebook_entropy_bits']} bits in a codebook, {len(too_short)} skipped, "
        f"{len(clips) - len(new)} unchanged, {time.monotonic() - start_s:.1f} s"
    )


def find_codec_config(params: ExtractVqParams, codec_checkpoint: Path) -> Path:
    """Return the JSON config of the codec.

    Raises:
        ParamsError: ``codec_config`` is not a file that DVC tracks.
    """
    if params.codec_config is None:
        return codec_config_path(codec_checkpoint)
    return external_path(params.codec_config, stage="extract_vq", param="extract_vq.codec_config")


def _codec_key(codec_checkpoint: Path, config: Path, device: torch.device) -> str:
    if not codec_checkpoint.is_file():
        raise CheckpointError(
            f"{codec_checkpoint}: no such file; correct base.codec_checkpoint in params.yaml, "
            "or run fetch_base again"
        )
    code = {Path(__file__)}
    for file in (
        waveform.__file__,
        resample_module.__file__,
        checkpoint.__file__,
        device_module.__file__,
    ):
        code.update(imported_files(Path(file)))
    hashes = map(content_hash, [codec_checkpoint, config, *sorted(code)])
    return combined_key(device.type, *hashes)


def _check_lengths(clips: list[Path], config: CodecConfig) -> tuple[dict[Path, int], list[str]]:
    """Return the samples of each clip at the codec's sample rate, and a line per short clip.

    Reads only the headers.
    """
    num_samples, too_short, unreadable = {}, [], []
    for path in clips:
        try:
            header = soundfile.info(path)
        except soundfile.SoundFileError as error:
            unreadable.append(f"{path}: not readable as audio ({error})")
            continue
        resampled = -(-header.frames * config.sample_rate_hz // header.samplerate)
        if resampled < config.min_num_samples:
            too_short.append(
                f"{path}: {header.duration:.3f} s is too short for a frame of codes "
                f"(at least {config.min_num_samples / config.sample_rate_hz:.3f} s); "
                "remove the clip"
            )
        else:
            num_samples[path] = resampled
    if unreadable:
        raise AudioError(list_problems("extract_vq: run normalize again for these", unreadable))
    return num_samples, too_short


def _encode(
    codec: Codec, num_samples: Mapping[Path, int], *, workers: int
) -> Iterator[tuple[Path, npt.NDArray[np.uint16]]]:
    """Yield each clip with its codes.

    Threads read batches of clips, each thread on one core, and encode them: on the CPU all threads
    at once, on other devices one batch at a time, while other threads read.
    """
    torch.set_num_threads(1)
    device_lock = contextlib.nullcontext() if layers.on_cpu(codec.device) else threading.Lock()

    def encode(batch: list[Path]) -> list[npt.NDArray[np.uint16]]:
        clips = [_read_clip(path, codec.config.sample_rate_hz) for path in batch]
        audio = pad_sequence(clips, batch_first=True)
        lengths = torch.tensor([len(clip) for clip in clips])
        with device_lock:
            codes, num_frames = (result.cpu() for result in codec.encode(audio, lengths))
        return [
            clip[:, :frames].numpy().astype(np.uint16)
            for clip, frames in zip(codes, num_frames.tolist(), strict=True)
        ]

    paths = list(num_samples)
    plan = codec.plan_encoding(list(num_samples.values()))
    batches = [[paths[clip] for clip in batch.clips] for batch in plan]
    results = map_in_threads(encode, batches, workers=workers, label="extract_vq")
    for batch, batch_codes in zip(batches, results, strict=True):
        yield from zip(batch, batch_codes, strict=True)


def _read_clip(path: Path, sample_rate_hz: int) -> Tensor:
    recorded = read_waveform(path)
    return resample(torch.from_numpy(recorded.samples), recorded.sample_rate_hz, sample_rate_hz)


def _codebook_usage(files: list[Path]) -> dict[str, float | int]:
    """Return the number of frames and the mean entropy of a codebook (at most log2 1000 = 9.97)."""
    codes = np.concatenate([np.load(path) for path in files], axis=1)
    shares = [np.unique(row, return_counts=True)[1] / len(row) for row in codes]
    entropy_bits = np.mean([-(row * np.log2(row)).sum() for row in shares])
    return {
        "num_frames": codes.shape[1],
        "mean_codebook_entropy_bits": round(float(entropy_bits), 3),
    }
