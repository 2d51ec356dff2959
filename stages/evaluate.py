"""Let the base and each checkpoint speak, measure the speech, and choose a checkpoint."""

from stages.command import run_stage, stage_arguments


def main() -> str:
    """Read parameters and run the stage."""
    params, paths = stage_arguments(
        __doc__,
        base="folder of the base model",
        normalized="folder of normalized clips",
        protos="folder of shards",
        lora="folder of adapters",
        data_report="report of the stage check",
        curves="folder of DVCLive's metrics of the training",
        table="CSV file to write, a line per checkpoint",
        choice="file to write the chosen checkpoint to",
        report="folder to write the listening page to",
        metrics="file to write figures to",
    )
    from fishdvc.machine import MachineParams
    from fishdvc.params import read_params
    from fishdvc.pipeline.evaluate import EvaluateParams, evaluate
    from fishdvc.pipeline.extract_vq import ExtractVqParams
    from fishdvc.pipeline.shared_params import BaseParams

    return evaluate(
        read_params(params, "evaluate", EvaluateParams),
        read_params(params, "base", BaseParams),
        read_params(params, "extract_vq", ExtractVqParams),
        read_params(params, "machine", MachineParams),
        **paths,
    )


if __name__ == "__main__":
    run_stage(main)
