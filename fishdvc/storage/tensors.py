"""Read and write files of tensors, and compare tensors with those of a module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Memory-map the tensors of a PyTorch file, in the file's order and types.

    Args:
        path: Contains a dict of tensors, or a training checkpoint with the dict in ``state_dict``.

    Raises:
        CheckpointError: The file is missing, damaged or not a dict of tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # A damaged file raises OSError, RuntimeError, EOFError, UnpicklingError, KeyError or others.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"cannot read {path}: {reason}; download it again (it may be cut, or a Git LFS pointer)"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not (isinstance(content, dict) and content):
        raise CheckpointError(f"{path}: expected a dict of tensors, got {type(content).__name__}")
    problems = [
        f"{key!r}: {type(value).__name__}"
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if problems:
        raise CheckpointError(list_problems(f"{path}: expected a dict of tensors", problems))
    return dict(content)


@contextmanager
def writing_tensors(path: Path) -> Iterator[None]:
    """Convert errors of PyTorch and safetensors that write a file in the block, as of a full disk.

    Raises:
        CheckpointError: The file cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: cannot be written: {reason}; check the free space and the permissions"
        ) from error


def check_fit(path: str | Path, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    """Compare tensors of a file with the ``state_dict`` of a module.

    Raises:
        CheckpointError: Keys or shapes differ, or a tensor is not of a floating point type. The
            message lists every problem.
    """
    if problems := list(_differences(expected, got)):
        summary = f"{path}: the weights do not fit the config; take both files from one base"
        raise CheckpointError(list_problems(summary, problems))


def _differences(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> Iterator[str]:
    for key, tensor in expected.items():
        if key not in got:
            yield f"{key}: missing"
        elif got[key].shape != tensor.shape:
            yield f"{key}: expected shape {tuple(tensor.shape)}, got {tuple(got[key].shape)}"
        elif not got[key].is_floating_point():
            yield f"{key}: expected a floating point type, got {got[key].dtype}"
    yield from (f"{key}: unexpected" for key in got if key not in expected)
