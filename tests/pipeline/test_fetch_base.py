"""fetch_base: a whole base, from a folder or a hub, or none at all."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors as hub_errors

import fishdvc.pipeline.fetch_base as stage
from fishdvc.errors import CheckpointError
from fishdvc.files.cache import content_hash
from fishdvc.pipeline.fetch_base import fetch_base

BASE = Path("data/base")
HUB = {"source": "fishaudio/fish-speech-1.5"}


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


def test_what_is_neither_folder_nor_repository_is_refused(shipped: Any) -> None:
    with pytest.raises(CheckpointError, match=r"'my/own/base' is neither a folder here nor the"):
        fetch(shipped, source="my/own/base")
    assert not BASE.exists()


def hub_of(source: Path) -> Any:
    def download(repo: str, name: str, *, revision: str) -> str:
        assert (repo, len(revision)) == (HUB["source"], 40)
        return str(source / name)

    return download


def test_files_of_a_hub_come_by_name(
    shipped: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "hf_hub_download", hub_of(source))
    monkeypatch.setattr(stage, "PUBLISHED_SHA256", {})
    fetch(shipped, **HUB)
    assert BASE.is_dir()
    assert len(files(BASE)) == 5


def test_another_file_than_the_published_one_is_refused(
    shipped: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "hf_hub_download", hub_of(source))
    with pytest.raises(CheckpointError, match=r"config\.json: its SHA-256 is .*, published is a66"):
        fetch(shipped, **HUB)
    assert not BASE.exists()
    monkeypatch.setattr(stage, "PUBLISHED_REVISION", "another")
    fetch(shipped, **HUB)
    assert BASE.exists()


RESPONSE: Any = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub_errors.GatedRepoError("", response=RESPONSE), "accept the terms .* set HF_TOKEN"),
        (hub_errors.RevisionNotFoundError("", response=RESPONSE), r"no revision '275.*revision\)"),
        (hub_errors.RepositoryNotFoundError("", response=RESPONSE), "no folder .* here, and no"),
        (hub_errors.LocalEntryNotFoundError(""), "no folder .* cannot be reached; .* set HF_ENDPOINT"),
        (hub_errors.EntryNotFoundError(""), "the repository has no such file"),
        (hub_errors.HfHubHTTPError("500", response=RESPONSE), "not fetched: 500; try again"),
        (OSError("disk full"), "not fetched: disk full; try again"),
    ],
)
def test_what_goes_wrong_at_the_hub_says_what_to_do(
    error: Exception, message: str, shipped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> str:
        raise error

    monkeypatch.setattr(stage, "hf_hub_download", fail)
    with pytest.raises(CheckpointError, match=message) as caught:
        fetch(shipped, **HUB)
    assert "fishaudio/fish-speech-1.5" in str(caught.value)
    assert not BASE.exists()
