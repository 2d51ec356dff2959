"""Read adapters as plain tensors: PEFT's folders and the reference implementation's checkpoints.

Knows both formats; builds no model and needs no PEFT.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.merge import Adapter, ModuleAdapter, lora_scale

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_PARTS = {  # end of a key: (field of ModuleAdapter, whether it belongs to an embedding)
    ".lora_A.weight": ("lora_a", False),
    ".lora_B.weight": ("lora_b", False),
    ".lora_embedding_A": ("lora_a", True),
    ".lora_embedding_B": ("lora_b", True),
    ".lora_magnitude_vector": ("magnitude", None),
}
# Each changes what the tensors mean; this package trains with none of them.
_ONLY_VALUES: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),  # others change the base's weights too
    **dict.fromkeys(
        (
            "fan_in_fan_out",
            "lora_bias",
            "rank_pattern",
            "alpha_pattern",
            "modules_to_save",
            "layer_replication",
            "trainable_token_indices",
        ),
        (None, False, {}, []),
    ),
}


def read_adapter(folder: str | Path) -> Adapter:
    """Read an adapter from a folder in PEFT's format.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.

    Returns:
        The adapter, in the file's types.

    Raises:
        CheckpointError: A file is missing or damaged, a tensor is missing or unknown, or the
            adapter is of a kind that cannot be merged by LoRA's or DoRA's formula.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG_NAME)
    path = folder / WEIGHTS_NAME
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: a safetensors file expected, got: {error}; train again or copy it again"
        ) from error
    fields: dict[str, dict[str, Tensor]] = defaultdict(dict)
    embeddings: set[str] = set()
    problems = []
    for key, tensor in tensors.items():
        suffix = next((suffix for suffix in _PARTS if key.endswith(suffix)), None)
        if suffix is None or not key.startswith(_PREFIX):
            problems.append(f"{key}: unknown")
            continue
        name = key.removeprefix(_PREFIX).removesuffix(suffix)
        field, of_embedding = _PARTS[suffix]
        fields[name][field] = tensor
        if of_embedding:
            embeddings.add(name)
    if config["use_dora"]:
        problems += [
            f"{name}: DoRA's magnitude is missing"
            for name, parts in fields.items()
            if "magnitude" not in parts
        ]
    modules = join_modules(fields, embeddings, config["r"], problems)
    if problems:
        raise CheckpointError(list_problems(f"{path}: not a whole LoRA adapter", problems))
    scale = lora_scale(config["r"], config["lora_alpha"], use_rslora=config["use_rslora"])
    return Adapter(modules, scale)


def join_modules(
    fields: dict[str, dict[str, Tensor]], embeddings: set[str], r: int, problems: list[str]
) -> dict[str, ModuleAdapter]:
    """Join the tensors of each module and note what does not fit.

    Args:
        fields: By module name, then by field of ``ModuleAdapter``.
        embeddings: Which modules are embeddings.
        r: Rank that every pair must have.
        problems: Is added to.

    Returns:
        By module name; incomplete modules are left out.
    """
    modules = {}
    if not fields:
        problems.append("no adapted module at all")
    for name, parts in fields.items():
        missing = [field for field in ("lora_a", "lora_b") if field not in parts]
        if missing:
            problems.append(f"{name}: {' and '.join(missing)} missing")
        elif not len(parts["lora_a"]) == parts["lora_b"].shape[-1] == r:
            shapes = f"{tuple(parts['lora_a'].shape)} and {tuple(parts['lora_b'].shape)}"
            problems.append(f"{name}: rank {r} expected, got A and B of shapes {shapes}")
        else:
            modules[name] = ModuleAdapter(**parts, is_embedding=name in embeddings)
    return modules


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a PEFT adapter's config expected, got {error}; train again or copy it again"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: a JSON object expected, got {type(config).__name__}")
    problems = [
        f"{key}: only {accepted[0]!r} can be merged, got {config[key]!r}"
        for key, accepted in _ONLY_VALUES.items()
        if key in config and config[key] not in accepted
    ]
    if type(config.get("r")) is not int or config["r"] < 1:
        problems.append(f"r: a whole number of at least 1 expected, got {config.get('r')!r}")
    if type(config.get("lora_alpha")) not in (int, float):
        problems.append(f"lora_alpha: a number expected, got {config.get('lora_alpha')!r}")
    if problems:
        raise CheckpointError(list_problems(f"{path}: not an adapter to merge", problems))
    return {"use_dora": False, "use_rslora": False, **config}
