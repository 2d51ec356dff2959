"""The cache of single files: found by what they were made from, and by nothing less."""

import types
from pathlib import Path

import fishdvc.files
import pytest
from fishdvc.files import cache as cache_module

from fishdvc.storage.cache import (
    CACHE_FOLDER,
    FileCache,
    code_hash,
    combined_key,
    content_hash,
    project_cache,
)

KEY = combined_key("a")


def test_what_was_stored_is_fetched(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.write_bytes(b"content")
    assert not cache.fetch(KEY, destination)
    assert not destination.exists()
    cache.store(KEY, source)
    source.write_bytes(b"changed afterwards")
    assert cache.fetch(KEY, destination)
    assert destination.read_bytes() == b"content"
    assert not cache.fetch(combined_key("b"), destination)


def test_what_was_fetched_can_be_changed_without_harm(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    source, first, second = tmp_path / "source", tmp_path / "first", tmp_path / "second"
    source.write_bytes(b"content")
    cache.store(KEY, source)
    cache.fetch(KEY, first)
    first.write_bytes(b"oh")
    cache.fetch(KEY, second)
    assert second.read_bytes() == b"content"


def test_storing_leaves_only_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path / "cache")
    (tmp_path / "source").write_bytes(b"content")

    def cut_off(_source: Path, destination: Path) -> None:
        destination.write_bytes(b"con")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.shutil, "copyfile", cut_off)
        with pytest.raises(OSError, match="disk full"):
            cache.store(KEY, tmp_path / "source")
    assert not cache.fetch(KEY, tmp_path / "destination")


def test_a_key_differs_in_every_part() -> None:
    keys = [
        combined_key("a", 1, None),
        combined_key("a", 1.0, None),
        combined_key("a", "1", None),
        combined_key("a", 1),
        combined_key("a1", None),
        combined_key("b", 1, None),
        combined_key("a", -1, None),
    ]
    assert len(set(keys)) == len(keys)
    assert combined_key("a", 1, None) == keys[0]


def test_content_is_what_is_hashed(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"same")
    b.write_bytes(b"same")
    assert content_hash(a) == content_hash(b)
    b.write_bytes(b"Same")
    assert content_hash(a) != content_hash(b)


def make_module(path: Path, source: str) -> types.ModuleType:
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    return module


def test_code_that_changes_makes_another_hash(tmp_path: Path) -> None:
    first = make_module(tmp_path / "first.py", "x = 1")
    second = make_module(tmp_path / "second.py", "x = 1")
    before = code_hash([first, second])
    assert code_hash([first, second]) == before
    make_module(tmp_path / "second.py", "x = 2")
    assert code_hash([first, second]) != before
    assert code_hash([first]) == code_hash([first])


def test_of_a_package_every_module_counts(tmp_path: Path) -> None:
    package = make_module(tmp_path / "package/__init__.py", "")
    make_module(tmp_path / "package/inner.py", "x = 1")
    before = code_hash([package])
    make_module(tmp_path / "package/inner.py", "x = 2")
    assert code_hash([package]) != before


def test_real_modules_can_be_hashed() -> None:
    assert code_hash([fishdvc.files]) != code_hash([cache_module])


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpxyz/"])
def test_copies_of_the_project_share_its_cache(
    copy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / copy
    inside.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert project_cache("normalize").folder == tmp_path / CACHE_FOLDER / "normalize"
    monkeypatch.chdir(inside)
    assert project_cache("normalize").folder == tmp_path / CACHE_FOLDER / "normalize"
    assert project_cache("normalize").folder != project_cache("extract_vq").folder
