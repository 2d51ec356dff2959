"""fetch_base from a folder: it writes a complete base or changes nothing."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.pipeline.fetch_base import DEMO_BASE, fetch_base
from fishdvc.storage.cache import content_hash

BASE = Path("data/base")
EXTERNAL = Path("data/external/fetch_base")
SOURCE = EXTERNAL / "source"


@pytest.fixture(autouse=True)
def _source(base_folder: Path, work: Path) -> None:
    shutil.copytree(base_folder, work / SOURCE)


def fetch(shipped: Any, **changes: Any) -> str:
    return fetch_base(shipped("base", **{"source": str(SOURCE), **changes}), base=BASE)


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
    fetch_base(shipped("base"), base=BASE)
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
    with pytest.raises(CheckpointError, match=r"^data/base: cannot be written: .*No space left"):
        fetch(shipped)
    assert [path.name for path in BASE.parent.iterdir()] == ["external"]
