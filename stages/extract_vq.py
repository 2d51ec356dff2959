"""Encode each normalized clip to codes."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(
        __doc__,
        base="folder of the base model",
        normalized="folder of normalized clips",
        codes="folder to write",
        skipped="file to list skipped clips in",
        metrics="file to write counts to",
    )
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.extract_vq import ExtractVqParams, extract_vq
    from fishdvc.pipeline.shared_params import BaseParams, DatasetParams

    return extract_vq(
        read_params(args.params, "extract_vq", ExtractVqParams),
        read_params(args.params, "machine", MachineParams),
        codec_checkpoint=args.base / read_params(args.params, "base", BaseParams).codec_file,
        normalized=args.normalized,
        on_bad_clip=read_params(args.params, "dataset", DatasetParams).on_bad_clip,
        codes=args.codes,
        skipped=args.skipped,
        metrics=args.metrics,
    )


if __name__ == "__main__":
    run_stage(main)
