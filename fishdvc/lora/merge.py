"""Merge an adapter into the weights of a model: into a copy of them, or in place for inference."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishdvc.lora.files import Adapter, ModuleAdapter, read_adapter
from fishdvc.lora.targets import check_fit
from fishdvc.model.dual_ar import DualAR

_ROWS_PER_SLICE = 8192
"""Rows of a weight that are converted to float32 at a time, 32 MB at a width of 1024."""


def merge_adapter(state_dict: Mapping[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """Add an adapter to the weights that it was trained on.

    A linear weight W becomes ``W + scale B A``, an embedding ``W + scale (B A)^T``. DoRA (Liu et
    al., arXiv:2402.09353) then rescales rows, of an embedding columns, to the learned norms.
    Computed in float32 and rounded once to the type of the weight. A weight does not change if A
    or B is all 0 and there is no DoRA.

    Returns:
        Weights by key in the order of the base. Tensors without an adapter are not copied.

    Raises:
        CheckpointError: The adapter does not fit the base. The message lists all ``mismatches``.
    """
    shapes = {key: tuple(weight.shape) for key, weight in state_dict.items()}
    check_fit(shapes, adapter, where="adapter")
    merged = dict(state_dict)
    with torch.no_grad():
        for name, module in adapter.modules.items():
            key = f"{name}.weight"
            merged[key] = merge_weight(merged[key], module, adapter.scale)
    return merged


def merge_weight(weight: Tensor, module: ModuleAdapter, scale: float) -> Tensor:
    """Merge the adapter of one module into its weight, a slice of rows at a time.

    Args:
        weight: Weight of the base, on any device. Not changed.
        module: The adapter of the module.
        scale: Factor of the product of B and A.

    Returns:
        The merged weight, of the type of ``weight``; ``weight`` itself if nothing changes.
    """
    if module.changes_nothing:
        return weight

    def on_device(array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(weight.device)

    lora_a, lora_b = on_device(module.lora_a), on_device(module.lora_b)
    magnitude = None if module.magnitude is None else on_device(module.magnitude)
    # (rows, r) @ (r, columns) of the weight
    left, right = (lora_a.T, lora_b.T) if module.is_embedding else (lora_b, lora_a)

    def merged_rows(rows: slice) -> Tensor:
        return weight[rows].float() + scale * (left[rows] @ right)

    slices = [
        slice(start, start + _ROWS_PER_SLICE) for start in range(0, len(weight), _ROWS_PER_SLICE)
    ]
    factor: Tensor | float = 1.0
    if magnitude is not None and module.is_embedding:
        squares = torch.stack([merged_rows(rows).square().sum(0) for rows in slices])
        factor = magnitude / squares.sum(0).sqrt()
    merged = torch.empty_like(weight)
    for rows in slices:
        values = merged_rows(rows)
        if magnitude is not None and not module.is_embedding:
            norms = torch.linalg.norm(values, dim=1)
            factor = (magnitude[rows] / norms).unsqueeze(1)
        merged[rows] = factor * values
    return merged


def read_adapter_for(model: DualAR, folder: Path, *, allow_untrained: bool = False) -> Adapter:
    """Read an adapter as ``read_adapter`` does, and check that it was trained on this base.

    Raises:
        CheckpointError: It cannot be read, is incomplete or was trained on another base.
    """
    adapter = read_adapter(folder, allow_untrained=allow_untrained)
    shapes = {key: tuple(weight.shape) for key, weight in model.state_dict().items()}
    check_fit(shapes, adapter, where=str(folder))
    return adapter


@torch.no_grad()
def use_adapter(model: DualAR, base: Mapping[str, Tensor], adapter: Adapter | None) -> None:
    """Overwrite the weights of a model with those of its base and an adapter, merged.

    The model then speaks like the merged model, as fast as without an adapter. The weights stay at
    their addresses, so CUDA graphs of the model stay valid.

    Args:
        model: A model with the shapes of the base. Changed in place.
        base: Weights of the base by key, of any type, on any device.
        adapter: From ``read_adapter_for``. None: the base without an adapter.
    """
    for key, parameter in model.state_dict().items():
        weight = base[key].to(parameter)
        if adapter and (module := adapter.modules.get(key.removesuffix(".weight"))):
            weight = merge_weight(weight, module, adapter.scale)
        parameter.copy_(weight)
