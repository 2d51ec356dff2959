"""An adapter applied without merging computes what PEFT computes, and leaves no trace."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.lora.apply import applied_adapter
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import Adapter, ModuleAdapter, merge_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR


def logits(model: DualAR) -> Tensor:
    torch.manual_seed(1)
    inputs = torch.randint(1, 1000, (2, 9, 7))
    with torch.inference_mode():
        output = model(inputs, torch.zeros(2, 7, dtype=torch.bool))
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_it_computes_what_peft_and_the_merged_weights_compute(
    use_dora: bool, use_rslora: bool, assets: Path, tmp_path: Path
) -> None:
    folder = assets / "text2semantic"
    torch.manual_seed(0)
    adapted = add_adapter(
        load_dual_ar(folder), r=3, alpha=5, dropout=0.0, use_dora=use_dora, use_rslora=use_rslora
    ).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn_like(parameter).abs())
    save_adapter(adapted, tmp_path / "adapter")
    adapter = read_adapter(tmp_path / "adapter")

    model = load_dual_ar(folder)
    before = logits(model)
    with applied_adapter(model, adapter):
        applied = logits(model)
    assert torch.equal(logits(model), before)
    assert (applied - before).abs().max() > 0.1
    torch.testing.assert_close(applied, logits(adapted), rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]
    model.load_state_dict(merge_adapter(model.state_dict(), adapter))
    torch.testing.assert_close(applied, logits(model), rtol=1e-4, atol=1e-4)


def test_an_error_within_leaves_no_trace_either(assets: Path, tmp_path: Path) -> None:
    model = load_dual_ar(assets / "text2semantic")
    save_adapter(
        add_adapter(load_dual_ar(assets / "text2semantic"), r=1, alpha=1, dropout=0.0),
        tmp_path / "adapter",
    )
    with (
        pytest.raises(KeyboardInterrupt),
        applied_adapter(model, read_adapter(tmp_path / "adapter")),
    ):
        raise KeyboardInterrupt
    assert not any(module._forward_hooks for module in model.modules())


def test_an_adapter_of_another_base_is_refused_with_all_differences(assets: Path) -> None:
    model = load_dual_ar(assets / "text2semantic")
    dim = model.config.dim
    wrong = ModuleAdapter(torch.ones(2, dim + 1), torch.ones(dim, 2), is_embedding=False)
    unknown = ModuleAdapter(torch.ones(2, dim), torch.ones(dim, 2), is_embedding=False)
    modules = {"layers.0.attention.wo": wrong, "layers.99.attention.wo": unknown}
    with (
        pytest.raises(CheckpointError) as error,
        applied_adapter(model, Adapter(modules, scale=1.0)),
    ):
        pass
    assert f"layers.0.attention.wo.weight: adapted at shape ({dim}, {dim + 1})" in str(error.value)
    assert "layers.99.attention.wo.weight: missing in the base" in str(error.value)
