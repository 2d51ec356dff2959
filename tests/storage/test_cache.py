"""Cache of files, and the hashes that make its keys."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fishdvc.storage.cache import (
    CACHE_FOLDER,
    FileCache,
    combined_key,
    project_cache,
)

KEY = combined_key("a")


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
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


def test_a_change_of_the_source_or_of_a_fetched_file_does_not_change_the_cache(
    cache: FileCache, source: Path, tmp_path: Path
) -> None:
    cache.store(KEY, source)
    assert cache.fetch(KEY, tmp_path / "first")
    for changed in (source, tmp_path / "first"):
        changed.write_bytes(b"changed")
        # DVC replaces a file with several links.
        assert changed.stat().st_nlink == 1
        assert cache.fetch(KEY, tmp_path / "second")
        assert (tmp_path / "second").read_bytes() == b"content"


def test_a_cached_file_that_cannot_be_read_is_a_miss_and_is_replaced(
    cache: FileCache, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, source)
    (cached,) = cached_files(cache)
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == cached:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **options)

    # Permissions do not keep root from reading a file.
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert not cache.fetch(KEY, tmp_path / "destination")
    assert not (tmp_path / "destination").exists()
    cache.store(KEY, source)
    assert cache.fetch(KEY, tmp_path / "destination")


def test_a_store_that_fails_is_a_miss(
    cache: FileCache, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: Path, destination: Path) -> None:
        destination.write_bytes(b"con")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fail)
        with pytest.raises(OSError, match="disk full"):
            cache.store(KEY, source)
    assert not cache.fetch(KEY, tmp_path / "destination")
    assert cached_files(cache) == []


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
