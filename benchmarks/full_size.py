"""Does the whole pipeline run at full size on this machine, how long, and in how much memory?

Makes a random base of the published shapes (model.pth of 1.28 GB in bfloat16, a codec of 188 MB, a
tokenizer of 100,000 ranks), then runs every stage on some clips for a few steps, each as its own
process. Times vary with the machine, so its matrix multiplication is timed too; the last line is
JSON.

    python benchmarks/full_size.py data/raw/allison-en --clips 20 --steps 3
"""

import argparse
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from training_step import FULL_SIZE, SEMANTIC_BEGIN_ID, measure_gflops

from fishdvc.codec import Codec, CodecConfig
from fishdvc.model import DualAR

PROJECT = Path(__file__).parents[1]
CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
SPECIAL_TOKENS = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_start|>", "<|im_end|>"),
    *(f"<|placeholder:{i}|>" for i in range(4)),
    *("<|text|>", "<|voice|>", "<|interleave|>"),
    *(f"<|semantic:{i}|>" for i in range(1024)),
]
NUM_RANKS = 100_000


def make_base(folder: Path) -> None:
    folder.mkdir()
    torch.manual_seed(0)
    with torch.device("meta"):
        model = DualAR(FULL_SIZE, semantic_begin_id=SEMANTIC_BEGIN_ID, num_semantic_tokens=1024)
    weights = {
        key: torch.ones(value.shape, dtype=torch.bfloat16)
        if value.ndim == 1
        else torch.empty(value.shape, dtype=torch.bfloat16).normal_(std=0.02)
        for key, value in model.state_dict().items()
    }
    torch.save(weights, folder / "model.pth")
    (folder / "config.json").write_text(json.dumps({"model_type": "dual_ar", **asdict(FULL_SIZE)}))
    tokens = itertools.islice(
        (bytes(t) for n in (1, 2, 3) for t in itertools.product(range(256), repeat=n)), NUM_RANKS
    )
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    (folder / "tokenizer.tiktoken").write_text("".join(lines))
    ids = {token: NUM_RANKS + i for i, token in enumerate(SPECIAL_TOKENS)}
    (folder / "special_tokens.json").write_text(json.dumps(ids, indent=2))
    torch.save(Codec(CodecConfig.firefly()).state_dict(), folder / CODEC_NAME)


def copy_clips(source: Path, destination: Path, num_clips: int) -> None:
    destination.mkdir(parents=True)
    for transcript in sorted(source.glob("*.lab"))[:num_clips]:
        for path in source.glob(f"{transcript.stem}.*"):
            shutil.copy(path, destination)


def write_params(path: Path, base: Path, dataset: Path, steps: int) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["dataset"]["path"] = str(dataset)
    params["base"]["source"] = str(base)
    params["train_lora"] |= {"max_steps": steps, "val_every_steps": steps}
    params["train_lora"] |= {"checkpoint_every_steps": steps, "batch_size": 1, "max_length": 512}
    path.write_text(yaml.safe_dump(params))


def run_stage(stage: str, options: dict[str, str], folder: Path) -> dict[str, float]:
    """Run a stage's script; return its wall time and the peak of its resident memory."""
    words = [f"--{name}={value}" for name, value in options.items()]
    start_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{stage} failed")
    return {
        "wall_s": round(time.monotonic() - start_s, 1),
        "peak_gb": round(usage.ru_maxrss / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips_folder", type=Path, help="folder of clips with transcripts")
    parser.add_argument("--clips", type=int, default=20, help="how many of them (20)")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps (3)")
    args = parser.parse_args()
    reports = {"skipped": "skipped.txt", "metrics": "metrics.json"}
    options = {
        "fetch_base": {"base": "base"},
        "normalize": {"normalized": "normalized", **reports},
        "extract_vq": {"base": "base", "normalized": "normalized", "codes": "codes", **reports},
        "build_protos": {
            **{"base": "base", "normalized": "normalized", "codes": "codes"},
            **{"protos": "protos", **reports},
        },
        "train_lora": {
            **{"base": "base", "protos": "protos", "lora": "lora", "logs": "logs"},
            **{"curves": "curves", "too-long": "too_long.txt", "metrics": "metrics.json"},
        },
        "merge": {"base": "base", "lora": "lora", "merged": "merged", "metrics": "metrics.json"},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_base(folder / "source")
        copy_clips(args.clips_folder, folder / "raw/speaker", args.clips)
        write_params(folder / "params.yaml", folder / "source", folder / "raw", args.steps)
        figures = {stage: run_stage(stage, words, folder) for stage, words in options.items()}
    print(json.dumps({"matmul_gflops": round(measure_gflops(), 1), "stages": figures}))


if __name__ == "__main__":
    main()
