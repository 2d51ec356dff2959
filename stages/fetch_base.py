"""Copy or download the base model's files into one folder."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(__doc__, base="folder to write")
    from fishdvc.params import read_params
    from fishdvc.pipeline.fetch_base import fetch_base
    from fishdvc.pipeline.shared_params import BaseParams
    from fishdvc.training.params import TrainLoraParams

    init_from = read_params(params, "train_lora", TrainLoraParams).init_from
    return fetch_base(read_params(params, "base", BaseParams), init_from=init_from, **paths)


if __name__ == "__main__":
    run_stage(main)
