"""Switch a model between adapters of its base, for inference."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fishdvc.lora.files import Adapter, read_adapter
from fishdvc.lora.merge import merge_weight
from fishdvc.lora.targets import check_fit
from fishdvc.model.dual_ar import DualAR


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
