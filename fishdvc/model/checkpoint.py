"""Load a model folder: config.json, special_tokens.json and model.pth.

Knows the spellings of published and fine-tuned checkpoints. Loading is strict: a key too many or
too few, or another shape, is an error that lists them all, for silently random weights sound like
a bad fine-tune.
"""

import json
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.model.config import read_config
from fishdvc.model.dual_ar import DualAR

_SEMANTIC_TOKEN = re.compile(r"<\|semantic:(\d+)\|>")


def load_dual_ar(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> DualAR:
    """Load a dual-AR model in evaluation mode.

    The weights are mapped into memory, not read: they come from the disk as they are used.

    Args:
        folder: Holds config.json, special_tokens.json and model.pth.
        dtype: Type to convert the weights to; None keeps the checkpoint's.
        device: Where to put the model.

    Returns:
        The model.

    Raises:
        CheckpointError: A file is missing or damaged, or the files do not fit together.
    """
    folder = Path(folder)
    config = read_config(folder / "config.json")
    begin_id, num_tokens = _read_semantic_range(folder / "special_tokens.json", config.vocab_size)
    if num_tokens != config.codebook_size:
        raise CheckpointError(
            f"{folder}: config.json's codebook_size semantic tokens expected, "
            f"{config.codebook_size}, got {num_tokens} in special_tokens.json; "
            "take both files from one base"
        )
    with torch.device("meta"), _Uninitialized():
        model = DualAR(config, semantic_begin_id=begin_id, num_semantic_tokens=num_tokens)
    weights = load_weights(folder / "model.pth")
    problems = _differences(model.state_dict(), weights)
    if problems:
        raise CheckpointError(
            list_problems(
                f"{folder / 'model.pth'}: not the weights that config.json describes; "
                "take both files from one base",
                problems,
            )
        )
    model.load_state_dict(weights, strict=True, assign=True)
    return model.to(device=device, dtype=dtype).eval()


class _Uninitialized(TorchFunctionMode):
    """Leaves out the initialization of weights, which on "meta" have no values.

    Drawing normal ones there imports PyTorch's compiler, which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Load the tensors of a model.pth under the model's own key names.

    Accepts a plain dict of tensors, or one under ``state_dict`` (a training checkpoint); keys all
    prefixed with ``model.``; and attention with split ``wq``, ``wk`` and ``wv``.

    Args:
        path: The file.

    Returns:
        Key to tensor, in the file's order and types, mapped into memory.

    Raises:
        CheckpointError: The file is missing, damaged or not a dict of tensors.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: a checkpoint saved by torch.save expected, got: {reason}; "
            "download it again (a Git LFS pointer or a cut file looks like this)"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not (isinstance(content, dict) and content):
        raise CheckpointError(f"{path}: a dict of tensors expected, got {type(content).__name__}")
    strangers = [
        f"{key!r}: {type(value).__name__}"
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise CheckpointError(list_problems(f"{path}: a dict of tensors expected", strangers))
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
        f"{key}: shape {tuple(tensor.shape)} expected, got {tuple(got[key].shape)}"
        for key, tensor in expected.items()
        if key in got and got[key].shape != tensor.shape
    ]
    return problems


def _read_semantic_range(path: Path, vocab_size: int) -> tuple[int, int]:
    """Read the id of ``<|semantic:0|>`` and the number of semantic tokens."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a JSON object of special tokens expected, got {error}; copy it from the base"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a JSON object expected, got {type(content).__name__}")
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
            f"{path}: <|semantic:0|> and the following with ids in one ascending run expected, "
            f"got {len(id_of_code)} semantic tokens, the first with id {begin_id!r}"
        )
    if not 0 <= begin_id <= vocab_size - len(id_of_code):
        raise CheckpointError(
            f"{path}: semantic ids below config.json's vocab_size = {vocab_size} expected, "
            f"got {begin_id}..{begin_id + len(id_of_code) - 1}"
        )
    return begin_id, len(id_of_code)
