"""Write transcripts and codes to shards. Held-out clips get their own shards."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        base="folder of the base model",
        normalized="folder of normalized clips",
        codes="folder of codes",
        protos="folder to write",
        skipped="file to list skipped clips in",
        metrics="file to write counts to",
    )
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.build_protos import BuildProtosParams, build_protos
    from fishdvc.pipeline.shared_params import DatasetParams

    return build_protos(
        read_params(params, "dataset", DatasetParams),
        read_params(params, "build_protos", BuildProtosParams),
        workers=read_params(params, "machine", MachineParams).workers,
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
