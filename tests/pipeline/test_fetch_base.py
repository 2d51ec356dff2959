"""fetch_base from a folder: a whole base, or none at all."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fishdvc.errors import CheckpointError
from fishdvc.pipeline.fetch_base import fetch_base
from fishdvc.storage.cache import content_hash

BASE = Path("data/base")


@pytest.fixture
def source(base_folder: Path, work: Path) -> Path:
    shutil.copytree(base_folder, work / "source")
    return Path("source")


def fetch(shipped: Any, **changes: Any) -> str:
    return fetch_base(shipped("base", **changes), base=BASE)


def files(folder: Path) -> dict[str, str]:
    return {path.name: content_hash(path) for path in folder.iterdir()}


def test_a_folder_is_copied_without_what_does_not_belong(shipped: Any, source: Path) -> None:
    expected = files(source)
    assert len(expected) == 6
    (source / "README.md").touch()
    assert fetch(shipped, source="source").startswith("fetch_base: source, 3.6 MB, ")
    assert files(BASE) == expected


def test_the_published_base_has_no_codec_configuration(shipped: Any, source: Path) -> None:
    next(source.glob("firefly*.json")).unlink()
    fetch(shipped, source="source")
    assert len(files(BASE)) == 5


def test_the_shipped_source_is_there(shipped: Any, top: Path, work: Path) -> None:
    (work / "demo_base").symlink_to(top / "demo_base")
    fetch(shipped)
    assert len(files(BASE)) == 6


def test_every_missing_file_is_named_and_the_old_base_stays(shipped: Any, source: Path) -> None:
    fetch(shipped, source="source")
    before = files(BASE)
    (source / "config.json").unlink()
    next(source.glob("firefly*.pth")).unlink()
    with pytest.raises(CheckpointError) as caught:
        fetch(shipped, source="source")
    assert str(caught.value).splitlines() == [
        "source: no base model; complete the folder, or set base.source to another (2 problems):",
        "  source/config.json: no such file",
        "  source/firefly-gan-vq-fsq-8x1024-21hz-generator.pth: no such file",
    ]
    assert files(BASE) == before
    assert {path.name for path in BASE.parent.iterdir()} == {"base"}


@pytest.mark.parametrize("codec", ["./mine.pth", "absolute"])
def test_a_codec_of_one_s_own_takes_the_place_of_the_folder_s(
    codec: str, shipped: Any, source: Path, work: Path
) -> None:
    next(source.glob("firefly*.pth")).rename("mine.pth")
    next(source.glob("firefly*.json")).rename("mine.json")
    codec = str(work / "mine.pth") if codec == "absolute" else codec
    fetch(shipped, source="source", codec_checkpoint=codec)
    assert {"mine.pth", "mine.json"} < set(files(BASE))
    assert len(files(BASE)) == 6


def test_a_missing_codec_of_one_s_own_is_named_with_its_place(
    shipped: Any, source: Path, work: Path
) -> None:
    with pytest.raises(CheckpointError, match=f"  {work}/mine.pth: no such file"):
        fetch(shipped, source=str(source), codec_checkpoint="./mine.pth")


def test_a_codec_that_would_replace_a_file_of_the_model_is_refused(
    shipped: Any, source: Path, work: Path
) -> None:
    (work / "model.pth").touch()
    with pytest.raises(CheckpointError, match="one name for two files of the base; rename the"):
        fetch(shipped, source=str(source), codec_checkpoint="./model.pth")
    assert not BASE.exists()


@pytest.mark.usefixtures("source")
def test_a_copy_that_fails_is_named(shipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: Path, destination: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(destination))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(CheckpointError, match=r"^data/base: not written: .*No space left on dev"):
        fetch(shipped, source="source")
    assert not list(BASE.parent.iterdir())


class Usage(NamedTuple):
    total: int = 10**9
    used: int = 10**9 - 10**6
    free: int = 10**6


@pytest.mark.usefixtures("source")
def test_a_copy_that_does_not_fit_is_not_begun(
    shipped: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage())
    message = rf"^{work}: 3\.6 MB are needed, 1\.0 MB are free; free space, or set HF_HOME"
    with pytest.raises(CheckpointError, match=message):
        fetch(shipped, source="source")
    assert not BASE.parent.exists()
