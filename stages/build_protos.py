"""Write transcripts and codes to shards. Held-out clips get their own shards."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Bind paths and parameters to the stage."""
    args = stage_arguments(
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

    dataset = read_params(args.params, "dataset", DatasetParams)
    return build_protos(
        read_params(args.params, "build_protos", BuildProtosParams),
        workers=read_params(args.params, "machine", MachineParams).workers,
        model_config=args.base / "config.json",
        normalized=args.normalized,
        codes=args.codes,
        text_extension=dataset.text_extension,
        on_bad_clip=dataset.on_bad_clip,
        protos=args.protos,
        skipped=args.skipped,
        metrics=args.metrics,
    )


if __name__ == "__main__":
    run_stage(main)
