"""Read and write adapter folders in PEFT's format, as plain tensors."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.merge import Adapter, ModuleAdapter
from fishdvc.storage.atomic import atomic_folder
from fishdvc.storage.tensors import writing_tensors
from fishdvc.validation import Checked, parse_json

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
KEY_PREFIX = "base_model.model."
FIELD_OF_SUFFIX = {
    ".lora_A.weight": "lora_a",
    ".lora_B.weight": "lora_b",
    ".lora_embedding_A": "lora_a",
    ".lora_embedding_B": "lora_b",
    ".lora_magnitude_vector": "magnitude",
}
"""Fields of ``ModuleAdapter`` by the end of PEFT's keys."""


class _AdapterConfig(Checked, extra="ignore"):
    """Keys of adapter_config.json that change what the tensors mean, or that PEFT needs.

    Merging does not support the options with the type None.
    """

    r: int = Field(ge=1)
    lora_alpha: float
    target_modules: list[str]
    """PEFT also accepts a regular expression, which could take hours to match."""
    use_dora: bool = False
    use_rslora: bool = False
    peft_type: Literal["LORA"] = "LORA"
    bias: Literal["none"] = "none"
    init_lora_weights: Literal[True, "gaussian"] = True
    """All other initializations change the base."""
    fan_in_fan_out: None = None
    lora_bias: None = None
    rank_pattern: None = None
    alpha_pattern: None = None
    modules_to_save: None = None
    layer_replication: None = None
    trainable_token_indices: None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_options_that_are_off(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: v for key, v in values.items() if v or key in ("r", "lora_alpha")}


def read_adapter(folder: str | Path) -> Adapter:
    """Read an adapter.

    Args:
        folder: Contains adapter_config.json and adapter_model.safetensors.

    Returns:
        The adapter, in the types of the file.

    Raises:
        CheckpointError: A file is missing or damaged, a tensor is missing, unknown or not finite,
            or the adapter is not LoRA or DoRA.
    """
    folder = Path(folder)
    config = parse_json(folder / CONFIG_NAME, _AdapterConfig)
    path = folder / WEIGHTS_NAME
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; copy the file again") from error
    fields: dict[str, dict[str, Tensor]] = defaultdict(dict)
    embeddings: set[str] = set()
    problems = [] if tensors else ["no tensors"]
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            problems.append(f"{key}: expected a floating point type, got {tensor.dtype}")
            continue
        if not tensor.float().isfinite().all():
            problems.append(f"{key}: NaN or infinite, because training diverged")
        suffix = next((suffix for suffix in FIELD_OF_SUFFIX if key.endswith(suffix)), None)
        if suffix is None or not key.startswith(KEY_PREFIX):
            problems.append(f"{key}: unknown")
            continue
        name = key.removeprefix(KEY_PREFIX).removesuffix(suffix)
        fields[name][FIELD_OF_SUFFIX[suffix]] = tensor
        if "embedding" in suffix:
            embeddings.add(name)
    needed = ("lora_a", "lora_b", "magnitude") if config.use_dora else ("lora_a", "lora_b")
    modules = {}
    for name, parts in fields.items():
        missing = [field for field in needed if field not in parts]
        if missing:
            problems.append(f"{name}: {' and '.join(missing)} missing")
        elif len(parts) > len(needed):
            problems.append(f"{name}: magnitude without use_dora")
        elif not _shapes_fit(config.r, **parts):
            shapes = f"{tuple(parts['lora_a'].shape)} and {tuple(parts['lora_b'].shape)}"
            if "magnitude" in parts:
                shapes += f", and a magnitude of {tuple(parts['magnitude'].shape)}"
            problems.append(f"{name}: expected rank {config.r}, got A and B of shapes {shapes}")
        else:
            modules[name] = ModuleAdapter(**parts, is_embedding=name in embeddings)
    if problems:
        summary = (
            f"{path}: expected a trained LoRA adapter; choose another, train again or copy it again"
        )
        raise CheckpointError(list_problems(summary, problems))
    # Rank-stabilized LoRA: Kalajdzievski, arXiv:2312.03732.
    scale = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
    return Adapter(modules, scale)


def _shapes_fit(r: int, lora_a: Tensor, lora_b: Tensor, magnitude: Tensor | None = None) -> bool:
    return (
        (lora_a.ndim, lora_b.ndim) == (2, 2)
        and len(lora_a) == lora_b.shape[1] == r
        and (magnitude is None or magnitude.shape == lora_b.shape[:1])
    )


def write_adapter(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object]
) -> None:
    """Write an adapter folder atomically. Equal adapters give equal bytes.

    Args:
        folder: Folder to create or replace.
        tensors: Tensors by PEFT's keys.
        config: Content of adapter_config.json.
    """
    with atomic_folder(folder) as partial, writing_tensors(folder):
        save_file(
            {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
            partial / WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        text = json.dumps(config, indent=2, sort_keys=True)
        (partial / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
