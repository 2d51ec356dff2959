"""Files below a folder: links, hidden files, and what cannot be listed."""

import os
import unicodedata
from pathlib import Path

import pytest

from fishdvc.corpus.files import list_files

GBK = os.fsdecode("你好".encode("gbk"))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path) -> list[str]:
    return sorted(name for name, _ in list_files(root).files)


def test_a_file_has_its_path_in_unicode_nfc(root: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Zoë")
    touch(root, f"a/{decomposed}/1", f"{decomposed}.x")
    assert dict(list_files(root).files) == {
        "Zoë.x": root / f"{decomposed}.x",
        "a/Zoë/1": root / "a" / decomposed / "1",
    }


@pytest.mark.parametrize(
    "name",
    ["._1.wav", ".DS_Store", "Thumbs.db", "desktop.ini", ".gitignore", ".gitkeep", "clips.dvc"],
)
def test_files_of_systems_and_tools_are_ignored(name: str, root: Path) -> None:
    touch(root, f"a/{name}", "a/1")
    listing = list_files(root)
    assert (names(root), listing.problems, listing.notes) == (["a/1"], [], [])


def test_hidden_files_and_folders_are_noted(root: Path) -> None:
    touch(root, "a/.1.wav", ".git/objects/1", "a/1")
    assert names(root) == ["a/1"]
    assert list_files(root).notes == [
        f"{root}/.git: not used, because it is hidden",
        f"{root}/a/.1.wav: not used, because it is hidden",
    ]


def test_links_to_files_and_folders_are_followed(root: Path, tmp_path: Path) -> None:
    touch(tmp_path, "store/x", "ben/b/2")
    touch(root, "a/2")
    (root / "a/1").symlink_to(tmp_path / "store/x")
    (root / "ben").symlink_to(tmp_path / "ben")
    (tmp_path / "linked").symlink_to(root)
    listing = list_files(tmp_path / "linked")
    assert sorted(name for name, _ in listing.files) == ["a/1", "a/2", "ben/b/2"]
    assert listing.problems == []
    # DVC lists a dependency without the content of linked folders.
    assert listing.notes == [
        f"{tmp_path}/linked/ben: a link to a folder, in which DVC sees no changes; after a change "
        "run dvc repro -f normalize && dvc repro"
    ]


def test_no_folder_is_searched_twice(root: Path, tmp_path: Path) -> None:
    touch(root, "z/1")
    touch(tmp_path, "ext/in/2")
    links = {
        "a": root / "z",  # sorted before its target
        "z/up": root / "z",  # a loop
        "above": tmp_path,  # contains the folder itself
        "ext1": tmp_path / "ext",
        "ext2": tmp_path / "ext/in",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (tmp_path / "ext/loop").symlink_to(root)
    listing = list_files(root)
    assert sorted(name for name, _ in listing.files) == ["ext1/in/2", "z/1"]
    assert sorted(problem.split(":")[0] for problem in listing.problems) == [
        f"{root}/{name}" for name in ("a", "above", "ext1/loop", "ext2", "z/up")
    ]
    assert (
        f"{root}/a: a link to {root}/z, which is searched already, or contains a folder that is; "
        "remove one of them"
    ) in listing.problems


def test_broken_links_and_special_files_are_problems(root: Path) -> None:
    (root / "1.wav").symlink_to("gone.wav")
    (root / "2.wav").symlink_to("2.wav")
    os.mkfifo(root / "3.wav")
    (root / "4.wav").symlink_to("../.git/annex/objects/Xx/9f/SHA256E-s9--4d.wav")
    assert list_files(root).problems == [
        f"{root}/1.wav: a link to gone.wav: No such file or directory; correct or remove the link",
        f"{root}/2.wav: a link to 2.wav: Too many levels of symbolic links; correct or remove the "
        "link",
        f"{root}/3.wav: neither a file nor a folder; remove it",
        f"{root}/4.wav: a git-annex pointer in place of the file; run `git annex get`",
    ]


def test_names_that_cannot_be_printed_are_problems(root: Path) -> None:
    touch(root, f"a/{GBK}.wav", "a/1\n2.wav", f"{GBK}/1.wav", "a/你 好\u3000\u200b.wav")
    listing = list_files(root)
    assert [name for name, _ in listing.files] == ["a/你 好\u3000\u200b.wav"]
    todo = "its name is not UTF-8 or has control characters; rename it"
    assert listing.problems == [
        rf"{root}/\xc4\xe3\xba\xc3: {todo}",
        rf"{root}/a/1\n2.wav: {todo}",
        rf"{root}/a/\xc4\xe3\xba\xc3.wav: {todo}",
    ]
