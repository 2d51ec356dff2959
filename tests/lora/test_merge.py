"""Merging equals the reference and PEFT, and is exact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import fishdvc.lora.merge as merge_module
from fishdvc.lora.adapter import save_adapter
from fishdvc.lora.files import Adapter, ModuleAdapter, read_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.lora.reference import convert_reference_adapter
from fishdvc.model.checkpoint import load_weights
from tests.lora.conftest import OPTIONS


@pytest.fixture(scope="module")
def base(assets: Path) -> dict[str, Tensor]:
    return load_weights(assets / "text2semantic/model.pth")


@pytest.fixture(scope="module")
def reference_adapter(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    checkpoint = assets / "text2semantic/reference_lora_step_000000010.ckpt"
    folder = tmp_path_factory.mktemp("reference") / "adapter"
    convert_reference_adapter(checkpoint, 8, folder)
    return read_adapter(folder)


@pytest.fixture(params=[8192, 7])
def _rows_per_slice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_module, "_ROWS_PER_SLICE", request.param)


@pytest.mark.usefixtures("_rows_per_slice")
def test_merging_equals_the_reference(
    assets: Path, base: dict[str, Tensor], reference_adapter: Adapter
) -> None:
    merged = merge_adapter(base, reference_adapter)
    assert list(merged) == list(base)
    for key, expected in load_file(assets / "text2semantic/merged.safetensors").items():
        torch.testing.assert_close(merged[key], expected, rtol=0, atol=1e-6)
        assert (merged[key] - base[key]).abs().max() > 1e-3, key


def test_a_converted_reference_checkpoint_equals_the_golden_adapter(
    assets: Path, reference_adapter: Adapter
) -> None:
    golden = load_file(assets / "text2semantic/lora_step.safetensors")
    names = {key.split(".", 1)[1].rpartition(".")[0] for key in golden if key.startswith("lora.")}
    assert reference_adapter.modules.keys() == names
    assert reference_adapter.scale == 2.0
    for name, module in reference_adapter.modules.items():
        for part, array in (("A", module.lora_a), ("B", module.lora_b)):
            expected = golden[f"lora.{name}.lora_{part}"]
            torch.testing.assert_close(torch.from_numpy(array), expected, rtol=0, atol=0)


@pytest.mark.usefixtures("_rows_per_slice")
@pytest.mark.parametrize("options", OPTIONS)
def test_merging_a_saved_adapter_equals_the_merge_of_peft(
    adapted: Any, base: dict[str, Tensor], tmp_path: Path, options: dict[str, bool]
) -> None:
    peft_model = adapted(**options)
    save_adapter(peft_model, tmp_path / "adapter")
    merged = merge_adapter(base, read_adapter(tmp_path / "adapter"))
    # PEFT merges in place. The file does not change, because it is mapped copy-on-write.
    expected = peft_model.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for key, tensor in merged.items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_zero_adapter_does_not_change_a_bit(
    base: dict[str, Tensor], reference_adapter: Adapter, dtype: torch.dtype
) -> None:
    zero = Adapter(
        {
            name: ModuleAdapter(m.lora_a, np.zeros_like(m.lora_b), m.is_embedding)
            for name, m in reference_adapter.modules.items()
        },
        scale=2.0,
        targets=reference_adapter.targets,
    )
    weights = {key: tensor.to(dtype, copy=True) for key, tensor in base.items()}
    weights["output.weight"][0, 0] = -0.0
    merged = merge_adapter(weights, zero)
    for key, tensor in weights.items():
        assert torch.equal(merged[key].view(torch.uint8), tensor.view(torch.uint8)), key


def test_bfloat16_is_rounded_once(base: dict[str, Tensor], reference_adapter: Adapter) -> None:
    low = {key: tensor.bfloat16() for key, tensor in base.items()}
    merged = merge_adapter(low, reference_adapter)
    module = reference_adapter.modules["layers.1.feed_forward.w2"]
    key = "layers.1.feed_forward.w2.weight"
    product = torch.from_numpy(module.lora_b) @ torch.from_numpy(module.lora_a)
    expected = (low[key].float() + 2.0 * product).bfloat16()
    torch.testing.assert_close(merged[key], expected, rtol=0, atol=0)
    assert all(tensor.dtype == torch.bfloat16 for tensor in merged.values())
