"""Merge an adapter into weights: arithmetic on tensors by name.

Knows no files, no models and no PEFT, so that merging starts fast and needs little memory.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems

_ROWS_PER_SLICE = 8192
"""Rows of a weight that exist in float32 at a time; 32 MB at a width of 1024."""


@dataclass(frozen=True)
class ModuleAdapter:
    """What an adapter learned for one module."""

    lora_a: Tensor
    """``(r, in)``; of an embedding ``(r, num_embeddings)``."""
    lora_b: Tensor
    """``(out, r)``; of an embedding ``(dim, r)``."""
    is_embedding: bool
    """Whether the product stands transposed to the weight."""
    magnitude: Tensor | None = None
    """DoRA's norms, ``(out,)``; of an embedding ``(dim,)``. None without DoRA."""


@dataclass(frozen=True)
class Adapter:
    """A low-rank adapter (Hu et al., LoRA, arXiv:2106.09685)."""

    modules: Mapping[str, ModuleAdapter]
    """By module name, such as ``layers.0.attention.wqkv``."""
    scale: float
    """Factor of every product: ``alpha / r``, with rank-stabilized LoRA ``alpha / sqrt(r)``."""


def lora_scale(r: int, alpha: float, *, use_rslora: bool = False) -> float:
    """Compute the factor of an adapter's products.

    Args:
        r: Rank.
        alpha: LoRA's alpha.
        use_rslora: Whether to divide by the root of the rank (Kalajdzievski, arXiv:2312.03732).

    Returns:
        The factor.
    """
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def merge_adapter(state_dict: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """Add an adapter to the weights it was trained on.

    A linear weight W becomes ``W + scale B A``, an embedding ``W + scale (B A)^T``; with DoRA (Liu
    et al., arXiv:2402.09353) the sum is brought to the learned norms. Computed in float32 and
    rounded once, to the weight's own type. Modules whose A or B is all 0 keep their very bits.

    Args:
        state_dict: The base, by key; not changed.
        adapter: The adapter.

    Returns:
        All keys in the base's order; tensors without an adapter are the base's own, not copies.

    Raises:
        CheckpointError: The adapter belongs to another base (all differences listed), or adapts
            the text embeddings of a base whose vocabulary head is tied to them.
    """
    problems = mismatches(state_dict, adapter)
    if "embeddings" in adapter.modules and "output.weight" not in state_dict:
        problems.insert(
            0,
            "embeddings: adapted, but tied to the vocabulary head, which merging would change too; "
            "train without this target",
        )
    if problems:
        raise CheckpointError(
            list_problems("adapter: does not fit the base; merge it into its own", problems)
        )
    merged = dict(state_dict)
    with torch.no_grad():
        for name, module in adapter.modules.items():
            key = f"{name}.weight"
            merged[key] = _merge_weight(merged[key], module, adapter.scale)
    return merged


def mismatches(state_dict: Mapping[str, Tensor], adapter: Adapter) -> list[str]:
    """Say what shows that an adapter was trained on another base: names and shapes.

    Args:
        state_dict: The base, by key.
        adapter: The adapter.

    Returns:
        A line for each module that the base lacks or has in another shape.
    """
    problems = []
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


def _merge_weight(weight: Tensor, module: ModuleAdapter, scale: float) -> Tensor:
    """Merge one weight, a slice of rows at a time."""
    lora_a, lora_b = module.lora_a.float(), module.lora_b.float()
    if module.magnitude is None and not (lora_a.any() and lora_b.any()):
        return weight
    # As (rows, r) @ (r, columns) of the weight, whichever way the product stands.
    left, right = (lora_a.T, lora_b.T) if module.is_embedding else (lora_b, lora_a)

    def summed(rows: slice) -> Tensor:
        return weight[rows].float() + scale * (left[rows] @ right)

    rescaled = _dora_rescaling(weight, module, summed)
    merged = torch.empty_like(weight)
    for rows in _slices(weight):
        merged[rows] = rescaled(summed(rows), rows)
    return merged


def _dora_rescaling(
    weight: Tensor, module: ModuleAdapter, summed: Callable[[slice], Tensor]
) -> Callable[[Tensor, slice], Tensor]:
    """Make the function that brings a slice of the sum to DoRA's norms."""
    if module.magnitude is None:
        return lambda values, _rows: values
    magnitude = module.magnitude.float()
    if not module.is_embedding:  # one norm per row
        return lambda values, rows: (
            (magnitude[rows] / torch.linalg.norm(values, dim=1)).unsqueeze(1) * values
        )
    # One norm per column: it takes a pass of its own over all slices.
    squares = torch.stack([summed(rows).square().sum(0) for rows in _slices(weight)])
    factor = magnitude / squares.sum(0).sqrt()
    return lambda values, _rows: factor * values


def _slices(weight: Tensor) -> Iterator[slice]:
    for start in range(0, len(weight), _ROWS_PER_SLICE):
        yield slice(start, start + _ROWS_PER_SLICE)
