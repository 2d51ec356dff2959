"""A manifest shows every damage of the files that it lists."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fishdvc.storage.manifest import manifest_problem, write_manifest

FILES = ("a.ckpt", "lora/b", "empty")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty" else name.encode())
    write_manifest(tmp_path / "manifest.json", tmp_path, [tmp_path / name for name in FILES])
    return tmp_path / "manifest.json"


def test_whole_files_have_no_problem(manifest: Path) -> None:
    (manifest.parent / "not listed").touch()
    assert manifest_problem(manifest, manifest.parent) is None


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("a.ckpt", lambda path: path.write_bytes(b"a.ck"), "changed or cut"),
        ("lora/b", lambda path: path.write_bytes(b"lora/c"), "changed or cut"),
        ("empty", lambda path: path.unlink(), "missing"),
        ("manifest.json", lambda path: path.unlink(), "missing"),
        ("manifest.json", lambda path: path.write_text("[" * 100_000), "cannot be read"),
        ("manifest.json", lambda path: path.write_bytes(b"\xff"), "cannot be read"),
        ("manifest.json", lambda path: path.write_text('{"a": 3}'), "cannot be read"),
        ("manifest.json", lambda path: path.write_text("[]"), "cannot be read"),
    ],
)
def test_damage_is_named(
    name: str, damage: Callable[[Path], object], problem: str, manifest: Path
) -> None:
    damage(manifest.parent / name)
    found = manifest_problem(manifest, manifest.parent)
    assert found is not None
    assert found.startswith(f"{manifest.parent / name}: {problem}")
