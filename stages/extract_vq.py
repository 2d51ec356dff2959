"""Encode each normalized clip to codes."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
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
        read_params(params, "base", BaseParams),
        read_params(params, "dataset", DatasetParams),
        read_params(params, "extract_vq", ExtractVqParams),
        read_params(params, "machine", MachineParams),
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
