"""Switch a model between adapters of its base, for inference."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.lora.files import Adapter, read_adapter
from fishdvc.lora.merge import merge_weight
from fishdvc.lora.targets import mismatches
from fishdvc.model.dual_ar import DualAR


def read_adapters(
    model: DualAR, folders: Sequence[Path], *, allow_untrained: bool = False
) -> list[Adapter]:
    """Read adapters as ``read_adapter`` does, and check that they were trained on this base.

    Raises:
        CheckpointError: Adapters cannot be read, are incomplete or were trained on another base.
            The message names every folder with a problem.
    """
    adapters, problems = [], []
    shapes = {key: tuple(weight.shape) for key, weight in model.state_dict().items()}
    for folder in folders:
        try:
            adapter = read_adapter(folder, allow_untrained=allow_untrained)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if differences := mismatches(shapes, adapter):
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            problems.append(f"{folder}: does not fit this base: {differences[0]}{more}")
        adapters.append(adapter)
    if problems:
        raise CheckpointError("\n".join(problems))
    return adapters


@torch.no_grad()
def use_adapter(model: DualAR, base: Mapping[str, Tensor], adapter: Adapter | None) -> None:
    """Overwrite the weights of a model with those of its base and an adapter, merged.

    The model then speaks like the merged model, as fast as without an adapter. The weights stay at
    their addresses, so CUDA graphs of the model stay valid.

    Args:
        model: A model with the shapes of the base. Changed in place.
        base: Weights of the base by key, of any type, on any device.
        adapter: From ``read_adapters``. None: the base without an adapter.
    """
    for key, parameter in model.state_dict().items():
        weight = base[key].to(parameter)
        if adapter and (module := adapter.modules.get(key.removesuffix(".weight"))):
            weight = merge_weight(weight, module, adapter.scale)
        parameter.copy_(weight)
