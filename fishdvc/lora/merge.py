"""Merge an adapter into the weights of a model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems

_ROWS_PER_SLICE = 8192
"""Rows of a weight that are converted to float32 at a time, 32 MB at a width of 1024."""


@dataclass(frozen=True)
class ModuleAdapter:
    """Tensors that an adapter learned for one module."""

    lora_a: Tensor
    """``(r, in)``; for an embedding ``(r, num_embeddings)``."""
    lora_b: Tensor
    """``(out, r)``; for an embedding ``(dim, r)``."""
    is_embedding: bool
    """Whether the product of B and A is transposed before it is added to the weight."""
    magnitude: Tensor | None = None
    """Norms of DoRA, ``(out,)``; for an embedding ``(dim,)``. None without DoRA."""

    def to(self, device: torch.device) -> "ModuleAdapter":
        """Return a copy on a device."""
        magnitude = None if self.magnitude is None else self.magnitude.to(device)
        lora_a, lora_b = self.lora_a.to(device), self.lora_b.to(device)
        return ModuleAdapter(lora_a, lora_b, self.is_embedding, magnitude)


@dataclass(frozen=True)
class Adapter:
    """A low-rank adapter (Hu et al., LoRA, arXiv:2106.09685)."""

    modules: Mapping[str, ModuleAdapter]
    """Tensors by module name, such as ``layers.0.attention.wqkv``."""
    scale: float
    """Factor of every product, ``alpha / r``; with rank-stabilized LoRA ``alpha / sqrt(r)``."""


def merge_adapter(state_dict: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """Add an adapter to the weights that it was trained on.

    A linear weight W becomes ``W + scale B A``, an embedding ``W + scale (B A)^T``. DoRA (Liu et
    al., arXiv:2402.09353) then rescales rows, of an embedding columns, to the learned norms.
    Computed in float32 and rounded once to the type of the weight. A weight does not change if A
    or B is all 0 and there is no DoRA.

    Args:
        state_dict: Weights of the base by key. Not changed.
        adapter: The adapter.

    Returns:
        Weights by key in the order of the base. Tensors without an adapter are not copied.

    Raises:
        CheckpointError: The adapter does not fit the base. The message lists all ``mismatches``.
    """
    if problems := mismatches(state_dict, adapter):
        summary = "adapter: trained on another base; merge it into its own base"
        raise CheckpointError(list_problems(summary, problems))
    merged = dict(state_dict)
    with torch.no_grad():
        for name, module in adapter.modules.items():
            key = f"{name}.weight"
            merged[key] = merge_weight(merged[key], module, adapter.scale)
    return merged


def mismatches(state_dict: Mapping[str, Tensor], adapter: Adapter) -> list[str]:
    """List the modules of an adapter that a base does not have, or has in another shape.

    Also lists adapted text embeddings if the vocabulary head of the base is tied to them.

    Args:
        state_dict: Weights of the base by key.
        adapter: The adapter.

    Returns:
        One line for each problem.
    """
    problems = []
    if "embeddings" in adapter.modules and "output.weight" not in state_dict:
        problems.append(
            "embeddings: adapted, but tied to the vocabulary head; train without this target"
        )
    for name, module in adapter.modules.items():
        weight = state_dict.get(f"{name}.weight")
        expected = (len(module.lora_b), module.lora_a.shape[1])
        if module.is_embedding:
            expected = expected[::-1]
        if weight is None:
            problems.append(f"{name}.weight: missing in the base")
        elif tuple(weight.shape) != expected:
            problems.append(
                f"{name}.weight: adapted at shape {expected}, the base has {tuple(weight.shape)}"
            )
    return problems


def merge_weight(weight: Tensor, module: ModuleAdapter, scale: float) -> Tensor:
    """Merge the adapter of one module into its weight, a slice of rows at a time.

    Args:
        weight: Weight of the base, on the adapter's device. Not changed.
        module: Tensors of the adapter.
        scale: Factor of the product of B and A.

    Returns:
        The merged weight, of the type of ``weight``; ``weight`` itself if nothing changes.
    """
    lora_a, lora_b = module.lora_a.float(), module.lora_b.float()
    if module.magnitude is None and not (lora_a.any() and lora_b.any()):
        return weight
    # (rows, r) @ (r, columns) of the weight
    left, right = (lora_a.T, lora_b.T) if module.is_embedding else (lora_b, lora_a)

    def merged_rows(rows: slice) -> Tensor:
        return weight[rows].float() + scale * (left[rows] @ right)

    slices = [
        slice(start, start + _ROWS_PER_SLICE) for start in range(0, len(weight), _ROWS_PER_SLICE)
    ]
    factor: Tensor | float = 1.0
    if module.magnitude is not None and module.is_embedding:
        squares = torch.stack([merged_rows(rows).square().sum(0) for rows in slices])
        factor = module.magnitude.float() / squares.sum(0).sqrt()
    merged = torch.empty_like(weight)
    for rows in slices:
        values = merged_rows(rows)
        if module.magnitude is not None and not module.is_embedding:
            norms = torch.linalg.norm(values, dim=1)
            factor = (module.magnitude[rows].float() / norms).unsqueeze(1)
        merged[rows] = factor * values
    return merged
