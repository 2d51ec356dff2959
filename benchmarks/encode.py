"""Measure how fast the full-size codec with random weights encodes clips.

Compares one clip at a time with the batches that ``extract_vq`` uses: clips in parallel on the CPU,
padded batches on other devices. Reading and resampling are not timed. The last line is JSON; speeds
are multiples of real time.

    python benchmarks/encode.py path/to/clips --num-clips 64
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch
import torchaudio.functional as audio_functional
from machine_speed import measure_gflops
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig
from fishdvc.device import choose_device
from fishdvc.parallel import map_in_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of .flac and .wav files")
    parser.add_argument("--num-clips", type=int, default=64, help="number of random clips")
    parser.add_argument("--num-threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of runs; the fastest one counts"
    )
    arguments = parser.parse_args()

    codec = Codec(CodecConfig.read(FIREFLY), decoder=False).eval().requires_grad_(False)
    codec.to(choose_device(arguments.device))
    clips = read_clips(arguments.clips, arguments.num_clips, codec)
    duration_s = sum(len(clip) for clip in clips) / codec.config.sample_rate_hz

    ways: dict[str, Callable[[], object]] = {
        "one_by_one": lambda: encode_one_by_one(codec, clips, arguments.num_threads),
        "in_batches": lambda: encode_in_batches(codec, clips, arguments.num_threads),
    }
    encode(codec, clips[:1])
    best_s = dict.fromkeys(ways, float("inf"))
    matmul_gflops = 0.0
    for _ in range(arguments.repeats):
        matmul_gflops = max(matmul_gflops, measure_gflops())
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            best_s[name] = min(best_s[name], time.perf_counter() - start)

    result: dict[str, float | str] = {
        "device": codec.device.type,
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
    """Read and resample random clips ``(samples,)``. Drop clips too short to encode."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".flac", ".wav"})
    clips = []
    for path in random.Random(0).sample(paths, min(num_clips, len(paths))):
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        audio = torch.from_numpy(samples).mean(dim=1)[None]
        clip = audio_functional.resample(audio, rate_hz, codec.config.sample_rate_hz)[0]
        if len(clip) >= codec.config.min_num_samples:
            clips.append(clip)
    if not clips:
        raise SystemExit(f"{folder}: no .flac or .wav long enough to encode")
    return clips


def encode(codec: Codec, clips: list[Tensor]) -> Tensor:
    num_samples = torch.tensor([len(clip) for clip in clips])
    return codec.encode(pad_sequence(clips, batch_first=True), num_samples)[0].cpu()


def encode_one_by_one(codec: Codec, clips: list[Tensor], num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    for clip in clips:
        encode(codec, [clip])


def encode_in_batches(codec: Codec, clips: list[Tensor], num_threads: int) -> None:
    torch.set_num_threads(1)
    plan = codec.plan_encoding([len(clip) for clip in clips])
    batches = [[clips[clip] for clip in batch.clips] for batch in plan]
    threads = num_threads if codec.device.type == "cpu" else 1
    list(map_in_threads(lambda b: encode(codec, b), batches, workers=threads, label="encode"))


if __name__ == "__main__":
    main()
