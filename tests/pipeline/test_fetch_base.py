"""fetch_base from a folder: it writes a complete base or changes nothing."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.lora.targets import adaptable_shapes
from fishdvc.model.config import read_config
from fishdvc.pipeline.fetch_base import DEMO_BASE, fetch_base
from fishdvc.storage.cache import content_hash

BASE = Path("data/base")
EXTERNAL = Path("data/external/fetch_base")
SOURCE = EXTERNAL / "source"


@pytest.fixture(autouse=True)
def _source(base_folder: Path, work: Path) -> None:
    shutil.copytree(base_folder, work / SOURCE)


def fetch(shipped: Any, *, init_from: str | None = None, **changes: Any) -> str:
    params = shipped("base", **{"source": str(SOURCE), **changes})
    return fetch_base(params, init_from=init_from, base=BASE)


def files(folder: Path) -> dict[str, str]:
    return {path.name: content_hash(path) for path in folder.iterdir()}


def test_only_the_base_s_files_are_copied(shipped: Any) -> None:
    expected = files(SOURCE)
    assert len(expected) == 6
    (SOURCE / "README.md").touch()
    assert fetch(shipped).startswith(f"fetch_base: {SOURCE}, 3.6 MB, ")
    assert files(BASE) == expected


def test_the_codec_s_config_may_be_missing(shipped: Any) -> None:
    next(SOURCE.glob("firefly*.json")).unlink()
    fetch(shipped)
    assert len(files(BASE)) == 5


def test_the_demo_base_is_the_shipped_source_and_a_dependency(
    shipped: Any, top: Path, work: Path
) -> None:
    (work / "demo_base").symlink_to(top / "demo_base")
    assert shipped("base").source == str(DEMO_BASE)
    fetch_base(shipped("base"), init_from=None, base=BASE)
    assert len(files(BASE)) == 6
    stages = yaml.safe_load((top / "dvc.yaml").read_text())["stages"]
    assert {str(DEMO_BASE), str(EXTERNAL)} < set(stages["fetch_base"]["deps"])


@pytest.mark.parametrize("name", ["source", "codec_checkpoint"])
def test_a_path_that_dvc_does_not_track_is_an_error(name: str, shipped: Any, work: Path) -> None:
    shutil.copytree(SOURCE, "mine")
    path = {"source": "mine", "codec_checkpoint": "mine/model.pth"}[name]
    with pytest.raises(ParamsError) as caught:
        fetch(shipped, **{name: path})
    assert str(caught.value) == (
        f"base.{name}: {path} is not in {EXTERNAL}, where DVC tracks it; copy it: cp -rs "
        f"{work}/{path} {EXTERNAL}/, then set base.{name}: {EXTERNAL}/{Path(path).name}"
    )


def test_all_missing_files_are_named_and_the_old_base_is_kept(shipped: Any) -> None:
    fetch(shipped)
    before = files(BASE)
    (SOURCE / "config.json").unlink()
    next(SOURCE.glob("firefly*.pth")).unlink()
    with pytest.raises(CheckpointError) as caught:
        fetch(shipped)
    assert str(caught.value).splitlines() == [
        f"{SOURCE}: no base model; complete the folder or set base.source to another (2 problems):",
        f"  {SOURCE}/config.json: no such file",
        f"  {SOURCE}/firefly-gan-vq-fsq-8x1024-21hz-generator.pth: no such file",
    ]
    assert files(BASE) == before
    assert [path.name for path in BASE.parent.glob("*base")] == ["base"]


def test_a_missing_own_codec_is_named(shipped: Any) -> None:
    path = f"{EXTERNAL}/mine.pth"
    with pytest.raises(ParamsError, match=f"^base.codec_checkpoint: {path}: no such file"):
        fetch(shipped, codec_checkpoint=path)


def test_an_own_codec_with_the_name_of_a_model_file_is_an_error(shipped: Any) -> None:
    (EXTERNAL / "model.pth").touch()
    with pytest.raises(CheckpointError, match=r"model\.pth: the base has another file of this na"):
        fetch(shipped, codec_checkpoint=f"{EXTERNAL}/model.pth")
    assert not BASE.exists()


def test_a_failed_copy_leaves_nothing(shipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: Path, destination: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(destination))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OSError, match="No space left"):
        fetch(shipped)
    assert [path.name for path in BASE.parent.iterdir()] == ["external"]


INIT_FROM = "data/external/train_lora/mine"


def save_adapter(**changes: Any) -> dict[str, NDArray[np.float32]]:
    """Write an adapter of the targets wqkv and embeddings for the small base."""
    rng = np.random.default_rng(0)
    config = {"r": 2, "lora_alpha": 4, "target_modules": ["wqkv", "embeddings"], **changes}
    shapes = adaptable_shapes(read_config(SOURCE / "config.json"))
    tensors = {}
    for name, (rows, columns) in shapes.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if name == "embeddings.weight":
            parts = {"lora_embedding_A": (2, rows), "lora_embedding_B": (columns, 2)}
        elif "wqkv" in name:
            parts = {"lora_A.weight": (2, columns), "lora_B.weight": (rows, 2)}
        else:
            continue
        for part, shape in parts.items():
            tensors[f"{module}.{part}"] = rng.normal(size=shape).astype(np.float32)
    Path(INIT_FROM).mkdir(parents=True, exist_ok=True)
    (Path(INIT_FROM) / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, Path(INIT_FROM) / "adapter_model.safetensors")
    return tensors


def test_an_adapter_that_fits_the_base_is_accepted(shipped: Any) -> None:
    save_adapter()
    fetch(shipped, init_from=INIT_FROM)
    assert [path.name for path in BASE.iterdir() if "adapter" in path.name] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _, t: t * np.nan, "NaN or infinite"),
        (lambda _, t: t * 1e18, "changes the weight by up to"),
        (lambda _, t: t * 0, "all products of A and B are 0"),
        (lambda key, t: None if "_B" in key else t, "lora_b missing"),
        (lambda key, t: None if "layers.1." in key else t, "layers.1.attention.wqkv: target_mod"),
        (
            lambda key, t: t[:, :-1] if "lora_A" in key else t,
            "adapted at shape (64, 31), the",
        ),
    ],
)
def test_an_adapter_that_cannot_be_continued_is_refused_before_training(
    change: Any, problem: str, shipped: Any
) -> None:
    changed = {key: change(key, tensor) for key, tensor in save_adapter().items()}
    kept = {key: np.ascontiguousarray(t) for key, t in changed.items() if t is not None}
    save_file(kept, Path(INIT_FROM) / "adapter_model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        fetch(shipped, init_from=INIT_FROM)
    assert problem in str(caught.value)
    assert not BASE.exists()


def test_an_adapter_in_another_folder_is_refused(shipped: Any) -> None:
    with pytest.raises(ParamsError, match="init_from: data/lora is not in data/external/train_l"):
        fetch(shipped, init_from="data/lora")
