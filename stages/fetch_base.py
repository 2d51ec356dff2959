"""Put the base model's files into one folder, from disk or from a hub."""

from fishdvc.params import read_params
from fishdvc.pipeline.fetch_base import fetch_base
from fishdvc.pipeline.shared_params import BaseParams
from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(__doc__, base="folder to write")
    return fetch_base(read_params(args.params, "base", BaseParams), base=args.base)


if __name__ == "__main__":
    run_stage(main)
