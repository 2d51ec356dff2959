"""Write each clip as mono FLAC at one loudness, with its transcript."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        normalized="folder to write",
        skipped="file to list skipped clips in",
        metrics="file to write counts to",
    )
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.normalize import NormalizeParams, normalize
    from fishdvc.pipeline.shared_params import DatasetParams

    return normalize(
        read_params(params, "dataset", DatasetParams),
        read_params(params, "normalize", NormalizeParams),
        workers=read_params(params, "machine", MachineParams).workers,
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
