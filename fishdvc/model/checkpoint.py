"""Load a dual-AR model from config.json, special_tokens.json and model.pth.

Loading is strict, because a model with random weights would sound like a bad fine-tune.
"""

import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.model.config import read_config, read_json
from fishdvc.model.dual_ar import DualAR

_SEMANTIC_TOKEN = re.compile(r"<\|semantic:(\d+)\|>")


def load_dual_ar(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> DualAR:
    """Load a dual-AR model in evaluation mode.

    The weights are memory-mapped, so they are read from disk at their first use.

    Args:
        folder: Contains config.json, special_tokens.json and model.pth.
        dtype: Type to convert the weights to. None keeps the type of the checkpoint.
        device: Device of the model.

    Raises:
        CheckpointError: A file is missing or damaged, or the files do not fit together.
    """
    folder = Path(folder)
    config = read_config(folder / "config.json")
    begin_id, num_tokens = _read_semantic_range(folder / "special_tokens.json", config.vocab_size)
    if num_tokens != config.codebook_size:
        raise CheckpointError(
            f"{folder}: expected codebook_size = {config.codebook_size} semantic tokens in "
            f"special_tokens.json, got {num_tokens}; take both files from one base"
        )
    with torch.device("meta"), _NoInitialization():
        model = DualAR(config, semantic_begin_id=begin_id, num_semantic_tokens=num_tokens)
    weights = load_weights(folder / "model.pth")
    if problems := _differences(model.state_dict(), weights):
        summary = f"{folder / 'model.pth'}: does not fit config.json; take both files from one base"
        raise CheckpointError(list_problems(summary, problems))
    model.load_state_dict(weights, strict=True, assign=True)
    return model.to(device=device, dtype=dtype).eval()


class _NoInitialization(TorchFunctionMode):
    """Skip weight initialization, which on "meta" imports PyTorch's compiler and takes seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Load the tensors of a model.pth, memory-mapped, in the file's order and types.

    Accepts a dict of tensors, or a training checkpoint with the dict under ``state_dict``. Removes
    the prefix ``model.`` if all keys have it, and joins split ``wq``, ``wk`` and ``wv``.

    Raises:
        CheckpointError: The file is missing, damaged or not a dict of tensors.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"cannot read {path}: {reason}; download it again (it may be cut, or a Git LFS pointer)"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not (isinstance(content, dict) and content):
        raise CheckpointError(f"{path}: expected a dict of tensors, got {type(content).__name__}")
    problems = [
        f"{key!r}: {type(value).__name__}"
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if problems:
        raise CheckpointError(list_problems(f"{path}: expected a dict of tensors", problems))
    if all(key.startswith("model.") for key in content):
        content = {key.removeprefix("model."): value for key, value in content.items()}
    return _join_split_attention(content)


def _join_split_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    joined = {}
    for key, tensor in weights.items():
        parts = [key.replace(".wq.", f".{name}.") for name in ("wq", "wk", "wv")]
        if ".wq." in key and all(part in weights for part in parts):
            joined[key.replace(".wq.", ".wqkv.")] = torch.cat([weights[part] for part in parts])
        elif not (
            (".wk." in key or ".wv." in key)
            and key.replace(".wk.", ".wqkv.").replace(".wv.", ".wqkv.") in joined
        ):
            joined[key] = tensor
    return joined


def _differences(expected: dict[str, Tensor], got: dict[str, Tensor]) -> list[str]:
    problems = [f"{key}: missing" for key in expected if key not in got]
    problems += [f"{key}: unexpected" for key in got if key not in expected]
    problems += [
        f"{key}: expected shape {tuple(tensor.shape)}, got {tuple(got[key].shape)}"
        for key, tensor in expected.items()
        if key in got and got[key].shape != tensor.shape
    ]
    return problems


def _read_semantic_range(path: Path, vocab_size: int) -> tuple[int, int]:
    """Read the id of ``<|semantic:0|>`` and the number of semantic tokens."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(content).__name__}")
    id_of_code = {
        int(match[1]): id_
        for token, id_ in content.items()
        if (match := _SEMANTIC_TOKEN.fullmatch(token))
    }
    begin_id = id_of_code.get(0)
    if type(begin_id) is not int or any(
        id_of_code.get(code) != begin_id + code for code in range(len(id_of_code))
    ):
        raise CheckpointError(
            f"{path}: expected consecutive ids for <|semantic:0|>, <|semantic:1|>, ..., "
            f"got {len(id_of_code)} semantic tokens, the first with id {begin_id!r}"
        )
    if not 0 <= begin_id <= vocab_size - len(id_of_code):
        raise CheckpointError(
            f"{path}: expected semantic ids below vocab_size = {vocab_size} of config.json, "
            f"got {begin_id}..{begin_id + len(id_of_code) - 1}"
        )
    return begin_id, len(id_of_code)
