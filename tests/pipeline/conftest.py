"""What the stages' tests share: parameters as shipped, and a working folder of their own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishdvc.dataset import SpeakerGroup
from fishdvc.dataset.shards import Sentence, write_shards
from fishdvc.params import read_params
from fishdvc.pipeline.build_protos import BuildProtosParams
from fishdvc.pipeline.extract_vq import ExtractVqParams
from fishdvc.pipeline.merge import MergeParams
from fishdvc.pipeline.normalize import NormalizeParams
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams
from fishdvc.pipeline.train_lora import LoraParams, TrainLoraParams

SECTIONS: dict[str, type] = {
    "dataset": DatasetParams,
    "base": BaseParams,
    "normalize": NormalizeParams,
    "extract_vq": ExtractVqParams,
    "build_protos": BuildProtosParams,
    "lora": LoraParams,
    "train_lora": TrainLoraParams,
    "merge": MergeParams,
}
Shipped = Callable[..., Any]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the cache of single files lies in it too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def shipped(top: Path) -> Shipped:
    """A section of the shipped params.yaml, with changes: ``shipped("lora", r=2)``."""

    def section(name: str, **changes: Any) -> Any:
        params: Any = read_params(top / "params.yaml", name, SECTIONS[name])
        return dataclasses.replace(params, **changes)

    return section


@pytest.fixture(scope="session")
def small_protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of random codes, ``train/`` (two speakers, 9 sentences) and ``val/`` (2)."""
    folder = tmp_path_factory.mktemp("protos")
    rng = np.random.default_rng(0)

    def group(name: str, count: int) -> SpeakerGroup:
        sentences = tuple(
            Sentence(texts=(f"Sentence {i}.",), codes=rng.integers(1, 1000, (8, 5 + i)))
            for i in range(count)
        )
        return SpeakerGroup(name=name, source="folder", sentences=sentences)

    write_shards(folder / "train", [group("ann", 6), group("bob", 3)], 10**7)
    write_shards(folder / "val", [group("ann", 1), group("bob", 1)], 10**7)
    return folder
