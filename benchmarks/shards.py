"""Measure the time and memory of writing and reading shards of random codes.

The last line is JSON.
"""

import argparse
import itertools
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from fishdvc.dataset.shards import Sentence, SpeakerGroup, read_shards, write_shards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-clips", type=int, default=10_000)
    parser.add_argument("--num-speakers", type=int, default=10)
    parser.add_argument("--num-codebooks", type=int, default=8)
    parser.add_argument("--num-frames", type=int, default=100)
    parser.add_argument("--shard-size-mb", type=float, default=10)
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    size = (args.num_clips, args.num_codebooks, args.num_frames)
    codes = rng.integers(1000, size=size, dtype=np.uint16)
    sentences = tuple(Sentence(texts=("The text of one clip.",), codes=clip) for clip in codes)
    bounds = np.linspace(0, args.num_clips, args.num_speakers + 1).astype(int)
    groups = [
        SpeakerGroup(name=f"speaker-{number:04d}", source="folder", sentences=sentences[start:end])
        for number, (start, end) in enumerate(itertools.pairwise(bounds))
    ]
    memory_before_mb = peak_memory_mb()

    with tempfile.TemporaryDirectory() as folder:
        start_s = time.perf_counter()
        shards = Path(folder, "shards")
        paths = write_shards(shards, groups, int(args.shard_size_mb * 1e6))
        write_s = time.perf_counter() - start_s
        size_mb = sum(path.stat().st_size for path in paths) / 1e6

        start_s = time.perf_counter()
        clips = [sentence.codes for group in read_shards(shards) for sentence in group.sentences]
        read_s = time.perf_counter() - start_s
    memory_after_mb = peak_memory_mb()
    np.testing.assert_array_equal(clips, codes)

    figures = {
        "num_clips": args.num_clips,
        "num_shards": len(paths),
        "size_mb": round(size_mb, 1),
        "write_s": round(write_s, 2),
        "read_s": round(read_s, 2),
        "memory_before_mb": memory_before_mb,
        "peak_memory_mb": memory_after_mb,
    }
    print(f"{args.num_clips} clips: written in {write_s:.2f} s, read in {read_s:.2f} s")
    print(json.dumps(figures))


def peak_memory_mb() -> int:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
