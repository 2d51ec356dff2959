"""Write each clip as mono FLAC at one loudness, with its transcript."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(
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
        read_params(args.params, "dataset", DatasetParams),
        read_params(args.params, "normalize", NormalizeParams),
        workers=read_params(args.params, "machine", MachineParams).workers,
        normalized=args.normalized,
        skipped=args.skipped,
        metrics=args.metrics,
    )


if __name__ == "__main__":
    run_stage(main)
