"""Run one part of ``gpu.py``: ``python -m gpu_parts PART --device cuda --work FOLDER ...``.

A process of its own measures its own peak memory, and an error of CUDA cannot reach other parts.
"""

import argparse
import importlib
import os
from pathlib import Path

import torch

from fishdvc.device import choose_device
from gpu_parts.measuring import Record, Setup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", help="name of a module of gpu_parts")
    parser.add_argument("--device", required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of the random base")
    parser.add_argument("--work", type=Path, required=True, help="empty folder for this part")
    parser.add_argument("--record", type=Path, required=True, help="file to append results to")
    parser.add_argument("--budget-s", type=float, required=True, help="time to use")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    setup = Setup(
        device=choose_device(arguments.device),
        base=arguments.base,
        work=arguments.work,
        tiny=arguments.tiny,
        budget_s=arguments.budget_s,
    )
    torch.zeros(1, device=setup.device)  # CUDA measures memory only after its first use.
    if setup.tiny and setup.device.type == "cpu":
        torch.set_num_threads(1)  # Further threads only wait for each other.
    # The stages write their caches to the current folder.
    os.chdir(setup.work)
    importlib.import_module(f"gpu_parts.{arguments.part}").measure(
        setup, Record(arguments.record, setup.device)
    )


if __name__ == "__main__":
    main()
