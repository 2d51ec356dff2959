"""A model switched to an adapter has the weights of the merged model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.merge import merge_adapter, read_adapter_for, use_adapter
from fishdvc.model.dual_ar import DualAR

LoadBase = Callable[..., DualAR]
Adapted = Callable[..., PeftModel]


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_a_model_can_switch_between_adapters_in_place(
    load_base: LoadBase, adapted: Adapted, tmp_path: Path, options: dict[str, bool]
) -> None:
    folders = [tmp_path / "v1.0", tmp_path / "v1.1"]
    targets = (["wqkv", "embeddings"], ["fast_output", "w1"])
    for folder, of_folder in zip(folders, targets, strict=True):
        save_adapter(adapted(targets=of_folder, **options), folder)
    model, base = load_base(), load_base().state_dict()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    adapters = [read_adapter_for(model, folder) for folder in folders]
    for adapter in adapters * 2:
        use_adapter(model, base, adapter)
        expected = merge_adapter(base, adapter)
        for key, weight in model.state_dict().items():
            assert torch.equal(weight, expected[key]), key
            name = key.removesuffix(".weight")
            assert torch.equal(weight, base[key]) is (name not in adapter.modules), key
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
    assert all(torch.equal(base[key], weight) for key, weight in load_base().state_dict().items())


def test_an_adapter_of_another_base_does_not_fit(
    load_base: LoadBase, adapted: Adapted, tmp_path: Path
) -> None:
    save_adapter(adapted(), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    tensors["base_model.model.layers.0.attention.wo.lora_A.weight"] = torch.ones(4, 33)
    tensors["base_model.model.layers.1.attention.wo.lora_A.weight"] = torch.ones(4, 33)
    save_file(tensors, weights)
    with pytest.raises(CheckpointError) as error:
        read_adapter_for(load_base(), tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: does not fit this base: layers.0.attention.wo.weight: adapted at shape "
        "(32, 33), the base has (32, 32) (and 1 more)"
    )
