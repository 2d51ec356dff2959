"""Every section of params.yaml, and the shipped values with changes."""

from typing import Any

from fishdvc.machine import MachineParams
from fishdvc.params import read_params
from fishdvc.pipeline.build_protos import BuildProtosParams
from fishdvc.pipeline.evaluate import EvaluateParams
from fishdvc.pipeline.extract_vq import ExtractVqParams
from fishdvc.pipeline.merge import MergeParams
from fishdvc.pipeline.normalize import NormalizeParams
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams
from fishdvc.training.params import LoraParams, TrainLoraParams
from fishdvc.validation import Checked
from tests.small_project import TOP

SECTIONS: dict[str, type[Checked]] = {
    "dataset": DatasetParams,
    "base": BaseParams,
    "normalize": NormalizeParams,
    "extract_vq": ExtractVqParams,
    "build_protos": BuildProtosParams,
    "lora": LoraParams,
    "train_lora": TrainLoraParams,
    "evaluate": EvaluateParams,
    "merge": MergeParams,
    "machine": MachineParams,
}


def shipped(name: str, **changes: Any) -> Any:
    """A section of the shipped params.yaml with unchecked changes: ``shipped("lora", r=2)``."""
    return read_params(TOP / "params.yaml", name, SECTIONS[name]).model_copy(update=changes)
