"""Measure the time of `fishdvc speak` as a whole process, and of importing torch alone.

Speaks one sentence with the demo's base and a reference clip, once per seed. The last line is JSON.

    python benchmarks/speak.py --repeats 3
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine_speed import measure_gflops

PROJECT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=PROJECT / "demo_base/checkpoint")
    parser.add_argument(
        "--reference", type=Path, default=PROJECT / "data/raw/allison-en/agent-pass.wav"
    )
    parser.add_argument(
        "--text", default="Please enter your agent number, followed by the pound key."
    )
    parser.add_argument("--repeats", type=int, default=3, help="number of seeds")
    args = parser.parse_args()

    torch_s, torch_cpu_s = run_timed([sys.executable, "-c", "import torch, scipy.signal"])[:2]
    gflops = [measure_gflops()]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, args.repeats + 1):
            command = [sys.executable, "-m", "fishdvc", "speak", args.text, f"--seed={seed}"]
            command += [f"--checkpoint={args.checkpoint}", f"--reference={args.reference}"]
            wall_s, cpu_s, said = run_timed([*command, f"--output={folder}/speech.wav"])
            found = re.search(r": ([\d.]+) s of speech", said)
            assert found, said
            runs.append((wall_s, cpu_s, float(found[1])))
            print(f"seed {seed}: {found[1]} s of speech, {wall_s:.2f} s, {cpu_s:.2f} s of CPU")
    gflops.append(measure_gflops())
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    result = {
        "speech_s": [speech_s for _, _, speech_s in runs],
        "wall_s": [round(wall_s, 2) for wall_s, _, _ in runs],
        # On a shared machine, only the CPU time is meaningful.
        "cpu_s": [round(cpu_s, 2) for _, cpu_s, _ in runs],
        "import_torch_scipy_wall_s": round(torch_s, 2),
        "import_torch_scipy_cpu_s": round(torch_cpu_s, 2),
        "peak_gb": round(peak_gb, 2),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "matmul_gflops": [round(g, 1) for g in gflops],
    }
    print(json.dumps(result))


def run_timed(command: list[str]) -> tuple[float, float, str]:
    """Run a process. Return its wall time and CPU time in seconds, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start_s = time.perf_counter()
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - start_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, ended.stdout


if __name__ == "__main__":
    main()
