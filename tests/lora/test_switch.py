"""A model switched to an adapter has the weights of the merged model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.lora.switch import read_adapters, use_adapter
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
    adapters = read_adapters(model, folders)
    for adapter in adapters * 2:
        use_adapter(model, base, adapter)
        expected = merge_adapter(base, adapter)
        for key, weight in model.state_dict().items():
            assert torch.equal(weight, expected[key]), key
            name = key.removesuffix(".weight")
            assert torch.equal(weight, base[key]) is (name not in adapter.modules), key
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
    assert all(torch.equal(base[key], weight) for key, weight in load_base().state_dict().items())


def test_all_adapters_that_do_not_fit_are_listed(
    load_base: LoadBase, adapted: Adapted, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("fits", "wide", "damaged", "missing")]
    for folder in folders[:3]:
        save_adapter(adapted(), folder)
    weights = folders[1] / "adapter_model.safetensors"
    tensors = load_file(weights)
    for layer in (0, 1):
        tensors[f"base_model.model.layers.{layer}.attention.wo.lora_A.weight"] = torch.ones(4, 33)
    save_file(tensors, weights)
    (folders[2] / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        read_adapters(load_base(), folders)
    expected = [
        f"{folders[1]}: does not fit this base: layers.0.attention.wo.weight: adapted at shape "
        "(32, 33), the base has (32, 32) (and 1 more)",
        f"cannot read {folders[2] / 'adapter_model.safetensors'}",
        f"cannot read {folders[3] / 'adapter_config.json'}",
    ]
    lines = str(error.value).splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))
