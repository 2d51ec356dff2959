"""Train adapters on the shards and validate on held-out clips."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(
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
        read_params(args.params, "lora", LoraParams),
        read_params(args.params, "train_lora", TrainLoraParams),
        read_params(args.params, "machine", MachineParams),
        base=args.base,
        protos=args.protos,
        lora_folder=args.lora,
        logs=args.logs,
        curves=args.curves,
        too_long=args.too_long,
        metrics=args.metrics,
    )


if __name__ == "__main__":
    run_stage(main)
