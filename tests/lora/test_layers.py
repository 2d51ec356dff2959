"""Adapters that compute in the type of the activations, compared with those of PEFT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fishdvc.dataset.collate import Batch, batch_of
from fishdvc.lora.adapter import add_adapter, load_adapter, save_adapter
from fishdvc.lora.targets import ALL_TARGETS
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import dual_ar_loss

LoadBase = Callable[..., DualAR]


@pytest.fixture(scope="module")
def batch(assets: Path) -> Batch:
    golden = load_file(assets / "text2semantic/forward.safetensors")
    return batch_of(golden["inputs"].numpy(), golden["labels"].numpy())


def of_peft(model: DualAR, **options: Any) -> PeftModel:
    return get_peft_model(model, LoraConfig(target_modules=list(ALL_TARGETS), **options))


def loss_and_gradients(model: PeftModel, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    torch.manual_seed(0)
    loss = dual_ar_loss(model, batch).loss
    loss.backward()
    return loss.item(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def fill(model: PeftModel) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1, generator=generator)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("variant", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_loss_and_gradients_in_float32_equal_those_of_peft(
    load_base: LoadBase, batch: Batch, variant: dict[str, bool], dropout: float
) -> None:
    ours = add_adapter(load_base(), r=4, alpha=8, dropout=dropout, **variant).train()
    theirs = of_peft(load_base(), r=4, lora_alpha=8, lora_dropout=dropout, **variant).train()
    fill(ours)
    fill(theirs)
    (loss, gradients), (expected_loss, expected) = (
        loss_and_gradients(model, batch) for model in (ours, theirs)
    )
    assert loss == pytest.approx(expected_loss, abs=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        difference = (gradient - expected[name]).norm()
        assert difference <= 1e-6 * max(1.0, expected[name].norm()), name


class ProductTypes(TorchDispatchMode):
    """Records the types of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::mm", "aten::addmm", "aten::bmm"):
            self.types.update(a.dtype for a in args if isinstance(a, Tensor))
        return func(*args, **(kwargs or {}))


def test_all_products_on_a_bfloat16_base_are_in_bfloat16(load_base: LoadBase, batch: Batch) -> None:
    model = add_adapter(load_base(dtype=torch.bfloat16), r=4, alpha=8, dropout=0.1).train()
    with ProductTypes() as products:
        loss_and_gradients(model, batch)
    assert products.types == {torch.bfloat16}


def test_bfloat16_products_train_as_well_as_float32_products(
    load_base: LoadBase, batch: Batch
) -> None:
    def train(make: Callable[..., PeftModel], **options: Any) -> float:
        torch.manual_seed(0)
        model = make(load_base(dtype=torch.bfloat16), r=4, **options)
        trained = [p for p in model.parameters() if p.requires_grad]
        assert {parameter.dtype for parameter in trained} == {torch.float32}
        optimizer = torch.optim.AdamW(trained, lr=1e-2, betas=(0.9, 0.95), eps=1e-5)
        for _ in range(8):
            loss, _ = loss_and_gradients(model, batch)
            optimizer.step()
        return loss

    ours = train(add_adapter, alpha=8, dropout=0.0)
    theirs = train(of_peft, lora_alpha=8, lora_dropout=0.0)
    untrained, _ = loss_and_gradients(add_adapter(load_base(), r=4, alpha=8, dropout=0.0), batch)
    assert ours < untrained - 0.3
    assert ours == pytest.approx(theirs, abs=0.02)


def test_peft_loads_a_saved_adapter_with_the_same_output(
    load_base: LoadBase, batch: Batch, tmp_path: Path
) -> None:
    model = add_adapter(load_base(), r=4, alpha=8, dropout=0.0)
    fill(model)
    save_adapter(model, tmp_path)
    by_peft = PeftModel.from_pretrained(load_base(), str(tmp_path), is_trainable=True)
    loaded = load_adapter(load_base(), tmp_path, trainable=True)
    expected, _ = loss_and_gradients(model, batch)
    for other in (by_peft, loaded):
        assert loss_and_gradients(other, batch)[0] == pytest.approx(expected, abs=1e-6)


def test_an_adapter_that_peft_merged_is_not_added_twice(load_base: LoadBase, batch: Batch) -> None:
    model = add_adapter(load_base(), r=4, alpha=8, dropout=0.0)
    fill(model)
    expected, _ = loss_and_gradients(model, batch)
    model.merge_adapter()
    with torch.no_grad():
        assert dual_ar_loss(model, batch).loss.item() == pytest.approx(expected, abs=1e-4)
