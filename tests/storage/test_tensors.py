"""Tensors of a PyTorch file, and their comparison with a module."""

from pathlib import Path

import pytest
import torch

from fishdvc.errors import CheckpointError
from fishdvc.storage.tensors import check_fit, read_tensors

TENSORS = {"a.weight": torch.arange(5.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)}


@pytest.mark.parametrize("content", [TENSORS, {"state_dict": TENSORS, "epoch": 3}])
def test_tensors_are_read_in_the_types_of_the_file(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    tensors = read_tensors(tmp_path / "x.pth")
    assert list(tensors) == list(TENSORS)
    assert all(torch.equal(tensors[key], tensor) for key, tensor in TENSORS.items())
    assert tensors["b"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"PK\x03\x04 cut", -100],
    ids=["empty", "git lfs pointer", "no archive", "cut"],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes | int) -> None:
    path = tmp_path / "x.pth"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(CheckpointError, match=r"cannot read .*x\.pth: .*; download it again"):
        read_tensors(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*x\.pth: .*No such file"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content", [[1], {}, torch.ones(1), {"a": 1}, {3: torch.ones(1)}, {"state_dict": 3}]
)
def test_a_file_of_other_objects_is_an_error(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: expected a dict of tensors"):
        read_tensors(tmp_path / "x.pth")


def test_all_differences_are_listed() -> None:
    expected = {key: torch.ones(2) for key in ("same", "missing", "wide", "int8")}
    got = {
        "same": torch.ones(2, dtype=torch.float16),
        "wide": torch.ones(3),
        "int8": torch.ones(2, dtype=torch.int8),
        "more": torch.ones(1),
    }
    with pytest.raises(CheckpointError) as error:
        check_fit("x.pth", expected, got)
    assert str(error.value).splitlines() == [
        "x.pth: the weights do not fit the config; take both files from one base (4 problems):",
        "  missing: missing",
        "  wide: expected shape (2,), got (3,)",
        "  int8: expected a floating point type, got torch.int8",
        "  more: unexpected",
    ]
