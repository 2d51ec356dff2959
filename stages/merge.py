"""Merge an adapter into the base and check the result."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(
        __doc__,
        base="folder of the base model",
        lora="folder of adapters",
        merged="folder to write",
        metrics="file to write the chosen checkpoint to",
    )
    from fishdvc.params import read_params
    from fishdvc.pipeline.merge import MergeParams, merge
    from fishdvc.pipeline.shared_params import BaseParams

    return merge(
        read_params(args.params, "merge", MergeParams),
        base=args.base,
        codec_checkpoint=read_params(args.params, "base", BaseParams).codec_file,
        lora_folder=args.lora,
        merged=args.merged,
        metrics=args.metrics,
    )


if __name__ == "__main__":
    run_stage(main)
