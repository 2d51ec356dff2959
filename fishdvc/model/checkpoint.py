"""Load a dual-AR model from config.json, special_tokens.json and model.pth.

Loading is strict, because a model with random weights would sound like a bad fine-tune.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fishdvc.errors import CheckpointError
from fishdvc.model.config import read_config
from fishdvc.model.dual_ar import DualAR
from fishdvc.storage.tensors import check_fit, read_tensors
from fishdvc.text.tokenizer import read_special_tokens, semantic_ids


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
    special_tokens = read_special_tokens(folder / "special_tokens.json")
    ids = semantic_ids(special_tokens)
    last_id = max(special_tokens.values())
    if len(ids) != config.codebook_size or ids[0] < 0 or last_id >= config.vocab_size:
        raise CheckpointError(
            f"{folder}: expected codebook_size = {config.codebook_size} semantic tokens with ids "
            f"from 0 up, and all special tokens below vocab_size = {config.vocab_size}, got "
            f"{len(ids)} with ids {ids[0]}..{ids[-1]}, and a largest id of {last_id}; "
            "take config.json and special_tokens.json from one base"
        )
    with torch.device("meta"), _NoInitialization():
        model = DualAR(config, semantic_begin_id=ids[0])
    weights = load_weights(folder / "model.pth")
    check_fit(folder / "model.pth", model.state_dict(), weights)
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
    """Load the tensors of a model.pth, memory-mapped, in the file's types.

    Accepts a dict of tensors, or a training checkpoint with the dict under ``state_dict``. Removes
    the prefix ``model.`` if all keys have it, and joins split ``wq``, ``wk`` and ``wv``.

    Raises:
        CheckpointError: The file is missing, damaged or not a dict of tensors.
    """
    weights = read_tensors(path)
    if all(key.startswith("model.") for key in weights):
        weights = {key.removeprefix("model."): tensor for key, tensor in weights.items()}
    for key in [key for key in weights if ".wq." in key]:
        parts = [key.replace(".wq.", f".{name}.") for name in ("wq", "wk", "wv")]
        if all(part in weights for part in parts):
            joined = torch.cat([weights.pop(part) for part in parts])
            weights[key.replace(".wq.", ".wqkv.")] = joined
    return weights
