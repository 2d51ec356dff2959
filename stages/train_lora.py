"""Train adapters on the shards and validate on held-out clips."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        base="folder of the base model",
        protos="folder of shards",
        lora="folder to write adapters to",
        logs="folder to write logs to",
        curves="folder to write metrics and curves to",
        too_long="file to list clips longer than max_length in",
        metrics="file to write losses and counts to",
    )
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.train_lora import train_lora
    from fishdvc.training.params import LoraParams, TrainLoraParams

    return train_lora(
        read_params(params, "lora", LoraParams),
        read_params(params, "train_lora", TrainLoraParams),
        read_params(params, "machine", MachineParams),
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
