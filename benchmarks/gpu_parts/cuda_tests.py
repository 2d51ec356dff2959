"""Run the tests with the marker ``cuda``."""

import os
import re
import subprocess
import sys

from gpu_parts.measuring import PROJECT, Record, Setup

OPTIONS = ["-q", "-m", "cuda", "-p", "no:cacheprovider"]
# A GPU machine may have no pytest-xdist, and other versions of packages that warn.
OPTIONS += ["-o", "addopts=--import-mode=importlib", "-W", "default"]


def measure(setup: Setup, record: Record) -> None:
    """Record how many tests passed. A failed, skipped or missing test is an error."""
    with record.case("tests with the marker cuda") as figures:
        pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", *OPTIONS, "tests/cuda"],
            cwd=PROJECT,
            env={**os.environ, "FISHDVC_TEST_DEVICE": setup.device.type},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert pytest.stdout is not None
        lines = []
        for line in pytest.stdout:
            lines.append(line)
            print(line, end="", flush=True)  # Also seen if this part is stopped.
        output = "".join(lines)
        counts = re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", output)
        figures.update({outcome: int(count) for count, outcome in counts})
        if pytest.wait() or not figures.get("passed") or figures.get("skipped"):
            last = output.strip().splitlines()[-1:]
            raise RuntimeError(f"pytest: {' '.join(last)}\n{output[-8000:]}")
