"""Measure what `dvc repro build_protos` costs with many clips, after one clip was added.

Makes a project with a tiny base and clips of 1 s, and keeps it in FOLDER, so that a second call
measures without the first run. The last column is the time of DVC's own process.

    python benchmarks/many_clips.py FOLDER --clips 3000
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.small_project import VOICE, Project, make_clip, make_project

# Prints the CPU seconds of DVC itself and of the stages.
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

    project = Project(arguments.folder.absolute() / "project", arguments.folder.absolute() / "home")
    if not project.folder.exists():
        make_project(project.folder, project.home)
        project.set("machine", workers=0)
    clips = len(list((project.folder / VOICE).glob("*/*.lab")))
    for number in range(clips, arguments.clips):
        add_clip(project, number)
    clips = max(clips, arguments.clips)
    measure(project, "from nothing, or again")
    measure(project, "nothing to do")
    add_clip(project, clips)
    measure(project, "one clip added")


def add_clip(project: Project, number: int) -> None:
    path = project.folder / VOICE / ("ann", "bob")[number % 2] / f"added.{number}.wav"
    make_clip(path, seconds=1, seed=number, text=f"This is sentence {number}.")


def measure(project: Project, what: str) -> None:
    project.run("dvc", "add", "--quiet", VOICE)
    os.sync()
    load = os.getloadavg()[0]
    start_s = time.perf_counter()
    printed = project.run(sys.executable, "-c", DVC, "repro", "build_protos")
    wall_s = time.perf_counter() - start_s
    dvc_s, stages_s = re.search(r"^CPU (\S+) (\S+)$", printed, re.MULTILINE).groups()
    stage_wall = dict(re.findall(r"^(\w+): .*, ([\d.]+) s$", printed, re.MULTILINE))
    print(json.dumps(dict(what=what, wall_s=round(wall_s, 1), dvc_cpu_s=round(float(dvc_s),1), stages_cpu_s=round(float(stages_s),1), stage_wall_s=stage_wall, load=[round(load,1), round(os.getloadavg()[0],1)])), flush=True)


if __name__ == "__main__":
    main()
