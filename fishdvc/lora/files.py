"""Read adapter folders in PEFT's format and check them.

Adapters are numpy arrays, because ``fetch_base`` checks an adapter without torch.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors import SafetensorError

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.storage.small_files import read_small_file
from fishdvc.validation import Checked, parse_json

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
KEY_PREFIX = "base_model.model."
MAX_WEIGHTS_BYTES = 2**31
"""More than the float32 weights of the 490 M parameters of fish-speech 1.5."""
MAX_RMS = 100.0
"""Largest root mean square of the change of a weight. Weights of a base have at most about 1. In
bfloat16, little is left of them after a larger change."""
_FIELDS = {
    ".lora_A.weight": "lora_a",
    ".lora_B.weight": "lora_b",
    ".lora_embedding_A": "lora_a",
    ".lora_embedding_B": "lora_b",
    ".lora_magnitude_vector": "magnitude",
}
"""Fields of ``ModuleAdapter`` by the end of PEFT's keys."""
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of numpy by those of safetensors. numpy has no bfloat16."""


@dataclass(frozen=True)
class ModuleAdapter:
    """Arrays that an adapter learned for one module, in float32."""

    lora_a: NDArray[np.float32]
    """``(r, in)``; for an embedding ``(r, num_embeddings)``."""
    lora_b: NDArray[np.float32]
    """``(out, r)``; for an embedding ``(dim, r)``."""
    is_embedding: bool
    """Whether the product of B and A is transposed before it is added to the weight."""
    magnitude: NDArray[np.float32] | None = None
    """Norms of DoRA, ``(out,)``; for an embedding ``(dim,)``. None without DoRA."""

    @property
    def changes_nothing(self) -> bool:
        """Whether A or B is all 0, without DoRA, as before training."""
        return self.magnitude is None and not (self.lora_a.any() and self.lora_b.any())


@dataclass(frozen=True)
class Adapter:
    """A low-rank adapter (Hu et al., LoRA, arXiv:2106.09685)."""

    modules: Mapping[str, ModuleAdapter]
    """Arrays by module name, such as ``layers.0.attention.wqkv``."""
    scale: float
    """Factor of every product, ``alpha / r``; with rank-stabilized LoRA ``alpha / sqrt(r)``."""
    targets: tuple[str, ...]
    """Names of the adapted modules, or their last parts, such as ``wqkv``."""


class _AdapterConfig(Checked, extra="ignore"):
    """Keys of adapter_config.json that change what the tensors mean, or that PEFT needs.

    Options with the type None are not supported.
    """

    r: int = Field(ge=1, le=2**16)
    lora_alpha: float = Field(gt=0)
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
    exclude_modules: None = None
    layers_to_transform: None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_options_that_are_off(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: v for key, v in values.items() if v or key in ("r", "lora_alpha")}


def read_adapter(folder: str | Path, *, allow_untrained: bool = False) -> Adapter:
    """Read an adapter and check everything that can be checked without its base.

    Args:
        folder: Contains adapter_config.json and adapter_model.safetensors.
        allow_untrained: Whether to accept an adapter that changes nothing, as before training.

    Raises:
        CheckpointError: A file is missing or damaged, the adapter is not LoRA or DoRA, a tensor is
            missing, unknown, not finite or far too large, or all are 0. The message lists every
            problem.
    """
    folder = Path(folder)
    config = parse_json(folder / CONFIG_NAME, _AdapterConfig)
    path = folder / WEIGHTS_NAME
    # Rank-stabilized LoRA: Kalajdzievski, arXiv:2312.03732.
    scale = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
    fields, problems = _read_fields(path)
    modules = {}
    for name, parts in fields.items():
        if found := list(_module_problems(config, scale, parts)):
            problems += [f"{name}: {problem}" for problem in found]
        else:
            modules[name] = ModuleAdapter(**parts, is_embedding=_is_embedding(name))
    untrained = all(module.changes_nothing for module in modules.values())
    if not problems and untrained and not allow_untrained:
        problems.append(
            "all products of A and B are 0, so it changes nothing; if it was trained, use a higher "
            "train_lora.learning_rate or more steps"
        )
    if problems:
        summary = (
            f"{path}: expected a trained LoRA adapter; choose another, train again or copy it again"
        )
        raise CheckpointError(list_problems(summary, problems))
    return Adapter(modules, scale, tuple(config.target_modules))


def _is_embedding(name: str) -> bool:
    return name.endswith("embeddings")


def _read_fields(path: Path) -> tuple[dict[str, dict[str, NDArray[np.float32]]], list[str]]:
    """Return the arrays by module and field, and the problems of single tensors."""
    try:
        content = read_small_file(path, max_bytes=MAX_WEIGHTS_BYTES)
        tensors = dict(safetensors.deserialize(content))  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; copy the file again") from error
    fields: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    problems = [] if tensors else ["no tensors"]
    for key, stored in sorted(tensors.items()):
        name, field = _place(key)
        if field is None:
            problems.append(f"{key}: unknown")
        elif stored["dtype"] not in _TYPES:
            problems.append(f"{key}: expected a floating point type, got {stored['dtype']}")
        else:
            fields[name][field] = array = _as_float32(stored)
            if not np.isfinite(array).all():
                problems.append(f"{key}: NaN or infinite, because training diverged")
    return fields, problems


def _place(key: str) -> tuple[str, str | None]:
    """Return the module and the field of a key; None for an unknown key."""
    suffix = next((suffix for suffix in _FIELDS if key.endswith(suffix)), "")
    name = key.removeprefix(KEY_PREFIX).removesuffix(suffix)
    field = _FIELDS.get(suffix)
    fits = field == "magnitude" or ("embedding" in suffix) == _is_embedding(name)
    return name, field if key.startswith(KEY_PREFIX) and fits else None


def _as_float32(stored: Mapping[str, Any]) -> NDArray[np.float32]:
    values = np.frombuffer(stored["data"], _TYPES[stored["dtype"]])
    if stored["dtype"] == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    with np.errstate(over="ignore"):  # Values above the range of float32 become infinite.
        return values.astype(np.float32).reshape(stored["shape"])


def _module_problems(
    config: _AdapterConfig, scale: float, parts: Mapping[str, NDArray[np.float32]]
) -> Iterator[str]:
    needed = ("lora_a", "lora_b", "magnitude") if config.use_dora else ("lora_a", "lora_b")
    missing = [field for field in needed if field not in parts]
    if missing:
        yield f"{' and '.join(missing)} missing"
        return
    if len(parts) > len(needed):
        yield "magnitude without use_dora"
        return
    a, b, *magnitude = (parts[field] for field in needed)
    fit = (a.ndim, b.ndim) == (2, 2) and len(a) == b.shape[1] == config.r and a.size and b.size
    if not fit or any(m.shape != b.shape[:1] for m in magnitude):
        shapes = f"{a.shape} and {b.shape}"
        if magnitude:
            shapes += f", and a magnitude of {magnitude[0].shape}"
        yield f"expected rank {config.r}, got A and B of shapes {shapes}"
        return
    # The norm of a product is at most the product of the norms.
    sizes = [scale * _norm(a) * _norm(b), *map(_norm, magnitude)]
    rms = max(sizes) / math.sqrt(len(b) * a.shape[1])
    if rms > MAX_RMS:
        yield f"changes the weight by up to {rms:.1e} on average, expected at most {MAX_RMS:g}"
    if not all(map(_norm, magnitude)):
        yield "all magnitudes are 0"


def _norm(array: NDArray[np.float32]) -> float:
    return math.sqrt(np.square(array, dtype=np.float64).sum())
