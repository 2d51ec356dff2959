"""Cache of files, and the hashes that make its keys."""

import errno
import shutil
from pathlib import Path

import pytest

from fishdvc.storage.cache import (
    CACHE_FOLDER,
    FileCache,
    combined_key,
    project_cache,
)

KEY = combined_key("a")


@pytest.fixture(params=["linked", "copied"])
def cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileCache:
    """A cache on a file system with hard links, and on one without."""

    def refuse(_link: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if request.param == "copied":
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    return FileCache(tmp_path / "cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


def cached_files(cache: FileCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def test_a_stored_file_is_fetched_by_its_key(
    cache: FileCache, source: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "destination"
    assert not cache.fetch(KEY, destination)
    assert not destination.exists()
    cache.store(KEY, source)
    assert cache.fetch(KEY, destination)
    assert destination.read_bytes() == b"content"
    assert not cache.fetch(combined_key("b"), tmp_path / "other")


def test_a_file_that_is_cut_in_the_cache_is_a_miss_and_is_replaced(
    cache: FileCache, source: Path, tmp_path: Path
) -> None:
    cache.store(KEY, source)
    (cached,) = cached_files(cache)
    cached.write_bytes(b"cont")
    assert not cache.fetch(KEY, tmp_path / "destination")
    assert not (tmp_path / "destination").exists()
    assert cached_files(cache) == []
    source.write_bytes(b"content")
    cache.store(KEY, source)
    assert cache.fetch(KEY, tmp_path / "destination")
    assert (tmp_path / "destination").read_bytes() == b"content"


def test_a_change_of_the_source_or_of_a_fetched_file_is_never_fetched(
    cache: FileCache, source: Path, tmp_path: Path
) -> None:
    for changed in (source, tmp_path / "first"):
        source.unlink()
        source.write_bytes(b"content")
        cache.store(KEY, source)
        cache.fetch(KEY, tmp_path / "first")
        changed.write_bytes(b"changed")
        if cache.fetch(KEY, tmp_path / "second"):
            assert (tmp_path / "second").read_bytes() == b"content"


def test_fetching_over_a_fetched_file_does_not_change_the_cache(
    cache: FileCache, source: Path, tmp_path: Path
) -> None:
    cache.store(KEY, source)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    cache.store(combined_key("b"), other)
    assert cache.fetch(KEY, tmp_path / "destination")
    assert cache.fetch(combined_key("b"), tmp_path / "destination")
    assert cache.fetch(KEY, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"content"


def test_files_are_not_copied_if_the_file_system_has_hard_links(
    source: Path, tmp_path: Path
) -> None:
    cache = FileCache(tmp_path / "cache")
    cache.store(KEY, source)
    cache.fetch(KEY, tmp_path / "destination")
    assert (tmp_path / "destination").samefile(source)


@pytest.mark.parametrize("cache", ["copied"], indirect=True)
def test_an_interrupted_store_leaves_no_file(
    cache: FileCache, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: Path, destination: Path) -> None:
        destination.write_bytes(b"con")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fail)
        with pytest.raises(OSError, match="disk full"):
            cache.store(KEY, source)
    assert cached_files(cache) == []
    assert not cache.fetch(KEY, tmp_path / "destination")


def test_a_key_depends_on_the_values_types_and_number_of_its_parts() -> None:
    parts = [("a", 1, None), ("a", 1.0, None), ("a", "1", None), ("a", 1), ("a1", None), ("a", -1)]
    assert len({combined_key(*part) for part in parts}) == len(parts)
    assert combined_key("a", 1, None) == combined_key("a", 1, None)


@pytest.mark.parametrize("copy", [".", ".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpxyz/"])
def test_copies_of_the_project_share_its_cache(
    copy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / copy).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / copy)
    assert project_cache("normalize").folder == tmp_path / CACHE_FOLDER / "normalize"
