"""Merge an adapter into the base and check the result."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        optional={"choice": "file of evaluate, for merge.checkpoint: best and the model card"},
        base="folder of the base model",
        lora="folder of adapters",
        merged="folder to write",
        metrics="file to write the chosen checkpoint to",
    )
    from fishdvc.params import read_params
    from fishdvc.pipeline.merge import MergeParams, merge
    from fishdvc.pipeline.shared_params import BaseParams
    from fishdvc.training.params import LoraParams, TrainLoraParams

    base = read_params(params, "base", BaseParams)
    return merge(
        read_params(params, "merge", MergeParams),
        codec_checkpoint=base.codec_file,
        base_source=base.source,
        training={
            "lora": read_params(params, "lora", LoraParams),
            "train_lora": read_params(params, "train_lora", TrainLoraParams),
        },
        lora_folder=paths.pop("lora"),
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
