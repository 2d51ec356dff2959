"""All sections of params.yaml at once."""

from pathlib import Path

from fishdvc.corpus.report import CheckParams
from fishdvc.errors import ParamsError
from fishdvc.machine import MachineParams
from fishdvc.params import load_yaml
from fishdvc.pipeline.build_protos import BuildProtosParams
from fishdvc.pipeline.evaluate import EvaluateParams
from fishdvc.pipeline.extract_vq import ExtractVqParams
from fishdvc.pipeline.merge import MergeParams
from fishdvc.pipeline.normalize import NormalizeParams
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams
from fishdvc.training.params import LoraParams, TrainLoraParams
from fishdvc.validation import Checked, parse


class Params(Checked):
    """The whole params.yaml."""

    dataset: DatasetParams
    base: BaseParams
    normalize: NormalizeParams
    check: CheckParams
    extract_vq: ExtractVqParams
    build_protos: BuildProtosParams
    lora: LoraParams
    train_lora: TrainLoraParams
    evaluate: EvaluateParams
    merge: MergeParams
    machine: MachineParams


def read_all_params(path: Path) -> Params:
    """Read a params.yaml.

    Raises:
        ParamsError: The file cannot be read, or sections or values are unknown, missing or invalid.
            The message lists every problem of all sections.
    """
    return parse(load_yaml(path), Params, where=str(path), error=ParamsError)
