"""Measure the time and memory of every stage at full size.

Writes a random base with the published shapes (``full_size_base.py``), then runs each stage in a
process of its own, with some clips and training steps. The last line is JSON.

    python benchmarks/full_size.py data/raw/allison-en --clips 20 --steps 3
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]


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


def run_python(*words: str) -> str:
    """Run Python in this folder and return its output.

    This process does not import torch itself, because the peak memory of a child process starts
    with the size of its parent.
    """
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, *words], cwd=here, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def run_stage(stage: str, options: list[str], folder: Path) -> dict[str, float]:
    """Run a stage script. Return its wall time and peak resident memory."""
    words = [f"--{name}={name}" for name in options]
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
    parser.add_argument("--clips", type=int, default=20, help="number of clips (20)")
    parser.add_argument("--steps", type=int, default=3, help="number of optimizer steps (3)")
    args = parser.parse_args()
    reports = ["skipped", "metrics"]
    options = {
        "fetch_base": ["base"],
        "normalize": ["normalized", *reports],
        "extract_vq": ["base", "normalized", "codes", *reports],
        "build_protos": ["base", "normalized", "codes", "protos", *reports],
        "train_lora": ["base", "protos", "lora", "logs", "curves", "too-long", "metrics"],
        "merge": ["base", "lora", "merged", "metrics"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "data/external/fetch_base/source"
        run_python("full_size_base.py", str(source))
        copy_clips(args.clips_folder, folder / "raw/speaker", args.clips)
        write_params(folder / "params.yaml", source, folder / "raw", args.steps)
        figures = {stage: run_stage(stage, names, folder) for stage, names in options.items()}
    gflops = float(run_python("-c", "from machine_speed import *; print(measure_gflops())"))
    print(json.dumps({"matmul_gflops": round(gflops, 1), "stages": figures}))


if __name__ == "__main__":
    main()
