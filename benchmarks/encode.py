"""Measure how fast the full-size codec with random weights encodes clips on the CPU.

Compares three ways: one clip at a time on all threads, clips in parallel on one thread each, and
padded batches of clips of similar length. Reading and resampling are not timed. The last line is
JSON; speeds are multiples of real time.

    python benchmarks/encode.py path/to/clips --num-clips 64
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import soundfile
import torch
import torchaudio.functional as audio_functional
from machine_speed import measure_gflops
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of .flac and .wav files")
    parser.add_argument("--num-clips", type=int, default=64, help="number of random clips")
    parser.add_argument("--num-threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=8, help="clips in a padded batch")
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of runs; the fastest one counts"
    )
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.num_threads)
    codec = Codec(CodecConfig.read(FIREFLY), decoder=False).eval().requires_grad_(False)
    clips = read_clips(arguments.clips, arguments.num_clips, codec)
    duration_s = sum(clip.shape[1] for clip in clips) / codec.config.sample_rate_hz

    ways: dict[str, Callable[[], object]] = {
        "one_by_one": lambda: [encode(codec, clip) for clip in clips],
        "in_parallel": lambda: encode_in_parallel(codec, clips, arguments.num_threads),
        "padded_batches": lambda: encode_padded(codec, clips, arguments.batch_size),
    }
    encode(codec, clips[0])
    best_s = dict.fromkeys(ways, float("inf"))
    matmul_gflops = 0.0
    for _ in range(arguments.repeats):
        matmul_gflops = max(matmul_gflops, measure_gflops())
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            best_s[name] = min(best_s[name], time.perf_counter() - start)

    result: dict[str, float] = {
        "num_clips": len(clips),
        "duration_s": round(duration_s, 1),
        "num_threads": arguments.num_threads,
        "matmul_gflops": round(matmul_gflops, 1),
        **{f"{name}_x_real_time": round(duration_s / s, 1) for name, s in best_s.items()},
    }
    for key, value in result.items():
        print(f"{key:32}{value:>10}")
    print(json.dumps(result))


def read_clips(folder: Path, num_clips: int, codec: Codec) -> list[Tensor]:
    """Read and resample random clips ``(1, samples)``. Drop clips too short to encode."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".flac", ".wav"})
    clips = []
    for path in random.Random(0).sample(paths, min(num_clips, len(paths))):
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        audio = torch.from_numpy(samples).mean(dim=1)[None]
        clip = audio_functional.resample(audio, rate_hz, codec.config.sample_rate_hz)
        if clip.shape[1] >= codec.min_num_samples:
            clips.append(clip)
    if not clips:
        raise SystemExit(f"{folder}: no .flac or .wav long enough to encode")
    return clips


def encode(codec: Codec, clip: Tensor) -> Tensor:
    return codec.encode(clip, torch.tensor([clip.shape[1]]))[0]


def encode_in_parallel(codec: Codec, clips: list[Tensor], num_workers: int) -> list[Tensor]:
    longest_first = sorted(clips, key=lambda clip: -clip.shape[1])
    with threads_per_operation(1), ThreadPoolExecutor(num_workers) as pool:
        return list(pool.map(lambda clip: encode(codec, clip), longest_first))


@torch.inference_mode()
def encode_padded(codec: Codec, clips: list[Tensor], batch_size: int) -> None:
    by_length = sorted(clips, key=lambda clip: clip.shape[1])
    for first in range(0, len(by_length), batch_size):
        mels = [codec.log_mel(clip)[0].T for clip in by_length[first : first + batch_size]]
        mel = pad_sequence(mels, batch_first=True).transpose(1, 2)
        codec.quantizer.residual_fsq(codec.quantizer.downsample(codec.backbone(mel)))


@contextmanager
def threads_per_operation(num_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    main()
