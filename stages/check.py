"""Report what in the data may harm training, before training."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        base="folder of the base model, for its tokenizer",
        report="JSON file to write",
        text="text file to write",
    )
    from fishdvc.corpus.report import CheckParams
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.check import check
    from fishdvc.pipeline.normalize import NormalizeParams
    from fishdvc.pipeline.shared_params import DatasetParams
    from fishdvc.training.params import TrainLoraParams

    return check(
        read_params(params, "dataset", DatasetParams),
        read_params(params, "check", CheckParams),
        read_params(params, "normalize", NormalizeParams),
        max_length=read_params(params, "train_lora", TrainLoraParams).max_length,
        workers=read_params(params, "machine", MachineParams).workers,
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
