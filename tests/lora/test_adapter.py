"""Adapters on the model: the training step of the reference, saving and loading."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fishdvc.dataset.collate import Batch, batch_of
from fishdvc.errors import CheckpointError
from fishdvc.lora.adapter import add_adapter, load_adapter, save_adapter
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.lora.targets import ALL_TARGETS
from fishdvc.model.dual_ar import DualAR
from fishdvc.model.precision import float32_by_module
from fishdvc.training.loss import dual_ar_loss
from tests.lora.conftest import OPTIONS

LoadBase = Callable[..., DualAR]
Adapted = Callable[..., PeftModel]


@pytest.fixture
def model(load_base: LoadBase) -> DualAR:
    return load_base()


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/lora_step.safetensors")


@pytest.fixture(scope="module")
def batch(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/forward.safetensors")


def labelled(batch: dict[str, Tensor]) -> Batch:
    return batch_of(batch["inputs"].numpy(), batch["labels"].numpy())


def reference_names(peft_model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by the names of the reference, ``<module>.lora_A``."""
    return {
        re.sub(r"lora_(?:embedding_)?([AB])\.default(\.weight)?$", r"lora_\1", name).removeprefix(
            "base_model.model."
        ): parameter
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad
    }


def section(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def test_one_training_step_equals_the_reference(
    model: DualAR, golden: dict[str, Tensor], batch: dict[str, Tensor]
) -> None:
    peft_model = add_adapter(model, r=4, alpha=8, dropout=0.0)
    trained = reference_names(peft_model)
    initial = section(golden, "lora.")
    assert trained.keys() == initial.keys()
    for name, parameter in trained.items():
        parameter.data.copy_(initial[name])

    loss = dual_ar_loss(peft_model, labelled(batch)).loss
    torch.testing.assert_close(loss.detach(), golden["loss"].squeeze(), rtol=1e-5, atol=1e-5)

    loss.backward()
    for name, expected in section(golden, "grad.").items():
        got = trained[name].grad
        assert got is not None, name
        assert (got - expected).norm() <= 1e-4 * expected.norm(), name

    optimizer = torch.optim.AdamW(
        trained.values(), lr=1e-4, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.0
    )
    optimizer.step()
    for name, expected in section(golden, "after.").items():
        torch.testing.assert_close(trained[name].data, expected, rtol=0, atol=1e-6)


def test_adapters_are_float32_on_a_bfloat16_base(
    load_base: LoadBase, batch: dict[str, Tensor]
) -> None:
    peft_model = add_adapter(load_base(dtype=torch.bfloat16), r=2, alpha=4, dropout=0.0)
    loss = dual_ar_loss(peft_model, labelled(batch)).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in peft_model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name), name
        assert parameter.dtype == (torch.float32 if "lora_" in name else torch.bfloat16), name
        # The gradient of A is 0 at first, because B is 0.
        assert (parameter.grad is not None) == ("lora_" in name), name


def test_only_the_targets_are_adapted(model: DualAR) -> None:
    peft_model = add_adapter(model, r=2, alpha=4, dropout=0.0, targets=["output", "wqkv"])
    modules = {name.rpartition(".")[0] for name in reference_names(peft_model)}
    slow = {f"layers.{i}.attention.wqkv" for i in range(3)}
    assert modules == {"output"} | slow | {f"fast_{name}" for name in slow if "2" not in name}


def test_a_loaded_adapter_can_be_trained(
    load_base: LoadBase, adapted: Adapted, tmp_path: Path
) -> None:
    save_adapter(adapted(), tmp_path / "adapter")
    loaded = load_adapter(load_base(), tmp_path / "adapter", trainable=True)
    assert all(
        parameter.requires_grad == ("lora_" in n) for n, parameter in loaded.named_parameters()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_loaded_adapter_computes_the_same_as_merged_weights(
    load_base: LoadBase,
    adapted: Adapted,
    batch: dict[str, Tensor],
    tmp_path: Path,
    options: dict[str, bool],
    dtype: torch.dtype,
) -> None:
    save_adapter(adapted(**options), tmp_path / "v1.0")
    merged = load_base(dtype=dtype)
    base_logits = logits(merged, batch)
    weights = {key: weight.float() for key, weight in merged.state_dict().items()}
    merged.float().load_state_dict(merge_adapter(weights, read_adapter(tmp_path / "v1.0")))
    merged_logits = logits(merged, batch)
    assert (merged_logits - base_logits).abs().max() > 0.1

    peft_model = load_adapter(load_base(dtype=dtype), tmp_path / "v1.0")
    assert not any(parameter.requires_grad for parameter in peft_model.parameters())
    assert not any(module.training for module in peft_model.modules())
    torch.testing.assert_close(logits(peft_model, batch), merged_logits, rtol=1e-4, atol=1e-3)
    with peft_model.disable_adapter():
        torch.testing.assert_close(logits(peft_model, batch), base_logits, rtol=0, atol=0)


def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode(), float32_by_module(model):
        output = model(batch["inputs"][:, :, :40])
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])


def test_equal_weights_give_equal_bytes_and_replace_the_folder(
    adapted: Adapted, tmp_path: Path
) -> None:
    peft_model = adapted()
    for name in ("a", "b", "b"):
        save_adapter(peft_model, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    names = ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    config = (tmp_path / "a" / names[0]).read_text()
    assert str(tmp_path) not in config
    assert [config.index(f'"{target}"') for target in sorted(ALL_TARGETS)] == sorted(
        config.index(f'"{target}"') for target in ALL_TARGETS
    )


@pytest.mark.parametrize("option", [{}, {"use_dora": True}])
def test_an_incomplete_adapter_is_not_loaded(
    load_base: LoadBase, adapted: Adapted, tmp_path: Path, option: dict[str, bool]
) -> None:
    save_adapter(adapted(**option), tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({key: tensors[key] for key in tensors if "layers.1." not in key}, path)
    with pytest.raises(CheckpointError, match=r"layers\.1\..*: target_modules names it, but it h"):
        load_adapter(load_base(), tmp_path)
