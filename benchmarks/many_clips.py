"""Measure what `dvc repro build_protos` costs with many clips, also after one clip was added.

The project has a tiny base and clips of 1 s. It stays in FOLDER, so another call with more clips
adds to it. Prints a line of JSON per run. CPU seconds are those of DVC itself and of the stages.

    python benchmarks/many_clips.py FOLDER --clips 3000
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.small_project import VOICE, Project, make_clip, make_project

DVC = """
import os, sys
from dvc.cli import main
code = main(sys.argv[1:])
times = os.times()
print("CPU", times.user + times.system, times.children_user + times.children_system)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the project, made if it is missing")
    parser.add_argument("--clips", type=int, default=3000, help="number of clips")
    arguments = parser.parse_args()

    folder = arguments.folder.absolute()
    project = Project(folder / "project", folder / "home")
    if not project.folder.exists():
        make_project(project.folder, project.home)
        project.set("machine", workers=0)
    add_clips(project, arguments.clips - num_clips(project))
    measure(project, "all new clips")
    measure(project, "nothing to do")
    add_clips(project, 1)
    measure(project, "one clip added")


def num_clips(project: Project) -> int:
    return len(list((project.folder / VOICE).rglob("*.lab")))


def add_clips(project: Project, number: int) -> None:
    first = num_clips(project)
    for i in range(first, first + number):
        path = project.folder / VOICE / ("ann", "bob")[i % 2] / f"added.{i}.wav"
        make_clip(path, seconds=1, seed=i, text=f"This is sentence {i}.")


def measure(project: Project, what: str) -> None:
    project.run("dvc", "add", "--quiet", VOICE)
    start_s = time.perf_counter()
    printed = project.run(sys.executable, "-c", DVC, "repro", "build_protos")
    wall_s = time.perf_counter() - start_s
    cpu_s = re.search(r"^CPU (\S+) (\S+)$", printed, re.MULTILINE)
    assert cpu_s, printed
    result = {
        "run": what,
        "clips": num_clips(project),
        "wall_s": round(wall_s, 1),
        "dvc_cpu_s": round(float(cpu_s[1]), 1),
        "stages_cpu_s": round(float(cpu_s[2]), 1),
        "stages_wall_s": dict(re.findall(r"^(\w+): .*, ([\d.]+) s$", printed, re.MULTILINE)),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
