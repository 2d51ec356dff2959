"""Measure every part of fishdvc on a GPU, at full size: ``python benchmarks/gpu.py --minutes 5``.

Makes a random base of the published shapes in a temporary folder, then measures encoding, training,
generation and merging, and runs the tests with the marker ``cuda``. Needs no network. A part that
fails is reported, and the others still run; then the exit code is 1. The last line is JSON.

    python benchmarks/gpu.py --device cpu --tiny    # a dry run without a GPU
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
SHARES = {"card": 1, "encode": 3, "train": 4, "generate": 4, "merge": 2, "cuda_tests": 4}
"""Parts in order, with their shares of the time."""
GRACE_S = 120.0
"""A part is stopped when it takes this time beyond twice its share."""
ABOUT = """
import json, platform, torch
cuda = torch.cuda.is_available()
card = torch.cuda.get_device_properties(0) if cuda else None
print(json.dumps({
    "card": card.name if cuda else platform.processor() or platform.machine(),
    "memory_gb": round(card.total_memory / 1e9, 1) if cuda else None,
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "python": platform.python_version(),
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5, help="time to use (default: 5)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny base, for a dry run")
    parser.add_argument("--parts", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument(
        "--json", type=Path, default=Path("gpu.json"), help="file to write (default: gpu.json)"
    )
    arguments = parser.parse_args()
    try:
        arguments.json.open("a").close()
    except OSError as error:
        sys.exit(f"--json: {error}; name a file that can be written")
    result = {**describe(arguments.device), "tiny": arguments.tiny}
    if arguments.device == "cuda" and not result["memory_gb"]:
        sys.exit("PyTorch finds no CUDA GPU; for a dry run: --device cpu --tiny")
    print(f"{result['card']}, torch {result['torch']}, {result['date']}, {result['commit']}")
    with tempfile.TemporaryDirectory() as folder:
        result["cases"] = run_parts(arguments, Path(folder))
    print(table(result["cases"]))
    print(json.dumps(result), flush=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if any("error" in case for case in result["cases"]):
        sys.exit(1)


def describe(device: str) -> dict[str, Any]:
    """Return the card, the versions, the commit and the date."""
    about = json.loads(run_python("-c", ABOUT))
    git = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown commit"  # A copy of the source without Git.
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {**about, "device": device, "cores": os.cpu_count(), "commit": commit, "date": date}


def run_python(*words: str) -> str:
    return subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def run_parts(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run each part in a process of its own. Return all cases."""
    parts = [part for part in SHARES if part == "card" or part in arguments.parts]
    end_s = time.monotonic() + 60 * arguments.minutes
    cases = []
    for i, part in enumerate(parts):
        left_s = max(10.0, end_s - time.monotonic())
        budget_s = left_s * SHARES[part] / sum(SHARES[later] for later in parts[i:])
        for case in run_part(arguments, folder, part, budget_s):
            case["part"] = part
            cases.append(case)
            print(f"{case['case']}: {describe_case(case)}", file=sys.stderr, flush=True)
    return cases


def run_part(
    arguments: argparse.Namespace, folder: Path, part: str, budget_s: float
) -> list[dict[str, Any]]:
    """Run one part. Return its cases, with one for the part itself if it ended with an error."""
    work, record = folder / part, folder / f"{part}.jsonl"
    work.mkdir()
    words = [f"--device={arguments.device}", f"--budget-s={budget_s}", f"--work={work}"]
    words += [f"--record={record}", f"--base={folder / 'base'}"]
    words += ["--tiny"] if arguments.tiny else []
    path = os.pathsep.join(filter(None, [str(HERE), str(PROJECT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "gpu_parts", part, *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    limit_s = 2 * budget_s + GRACE_S
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = f"{process.communicate()[0]}\nstopped after {limit_s:.0f} s"
    cases = (
        [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    )
    if process.returncode:
        lines = output.strip().splitlines() or [f"ended with {process.returncode}"]
        cases.append({"case": part, "error": lines[-1], "traceback": output[-8000:]})
    return cases


def table(cases: list[dict[str, Any]]) -> str:
    """Return the cases as a table in Markdown."""
    rows = [f"| {case['case']} | {describe_case(case)} |" for case in cases]
    return "\n".join(["| what | figures |", "|---|---|", *rows])


def describe_case(case: dict[str, Any]) -> str:
    """Return the figures of a case, or its error, in one line."""
    if "error" in case:
        return f"FAILED: {case['error']}"
    hidden = ("case", "part")
    return ", ".join(f"{key} {number(v)}" for key, v in case.items() if key not in hidden)


def number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
