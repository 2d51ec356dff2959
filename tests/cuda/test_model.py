"""The dual-AR model on a GPU: logits, loss and gradients of the reference, and adapters."""

import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn

from fishdvc.dataset.collate import Batch, batch_of
from fishdvc.lora.adapter import add_adapter, load_adapter, save_adapter
from fishdvc.lora.merge import read_adapter_for, use_adapter
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import DualARLoss, dual_ar_loss

pytestmark = pytest.mark.cuda


@pytest.fixture
def model(assets: Path, device: torch.device) -> DualAR:
    return load_dual_ar(assets / "text2semantic", device=device)


@pytest.fixture(scope="module")
def golden(assets: Path, device: torch.device) -> dict[str, Tensor]:
    tensors = load_file(assets / "text2semantic/forward.safetensors")
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def loss_of(model: nn.Module, golden: dict[str, Tensor]) -> DualARLoss:
    inputs, labels = golden["inputs"], golden["labels"]
    batch = batch_of(inputs.cpu().numpy(), labels.cpu().numpy())
    moved = (x.to(inputs.device) if isinstance(x, Tensor) else x for x in batch)
    return dual_ar_loss(model, Batch(*moved))  # type: ignore[arg-type]


@pytest.mark.parametrize("with_mask", [True, False])
def test_logits_equal_the_reference(
    model: DualAR, golden: dict[str, Tensor], with_mask: bool
) -> None:
    mask = golden["attention_masks"]
    with torch.inference_mode():
        output = model(golden["inputs"], mask if with_mask else None)
    positions = golden["positions"]
    valid = ~mask[:, positions]
    for name in ("token_logits", "codebook_logits"):
        got = getattr(output, name)[:, positions]
        torch.testing.assert_close(got[valid], golden[name][valid], rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_checkpointed", [0, 5])
def test_one_training_step_equals_the_reference(
    model: DualAR,
    golden: dict[str, Tensor],
    assets: Path,
    device: torch.device,
    num_checkpointed: int,
) -> None:
    model.num_checkpointed = num_checkpointed
    step = load_file(assets / "text2semantic/lora_step.safetensors", device=device.type)
    adapted = add_adapter(model, r=4, alpha=8, dropout=0.0)
    trained = {
        re.sub(r"lora_(?:embedding_)?([AB])\.default(\.weight)?$", r"lora_\1", name).removeprefix(
            "base_model.model."
        ): parameter
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    }
    for name, parameter in trained.items():
        parameter.data.copy_(step[f"lora.{name}"])
    loss = loss_of(adapted, golden).loss
    torch.testing.assert_close(loss.detach(), step["loss"].squeeze(), rtol=1e-5, atol=1e-5)
    loss.backward()
    for name, parameter in trained.items():
        expected = step[f"grad.{name}"]
        assert parameter.grad is not None, name
        assert (parameter.grad - expected).norm() <= 1e-4 * expected.norm(), name


def test_the_loss_on_a_bfloat16_base_is_near_that_of_float32(
    assets: Path, golden: dict[str, Tensor], device: torch.device
) -> None:
    model = load_dual_ar(assets / "text2semantic", dtype=torch.bfloat16, device=device)
    adapted = add_adapter(model, r=4, alpha=8, dropout=0.0)
    loss = loss_of(adapted, golden).loss
    expected = golden["log.loss"].squeeze()
    torch.testing.assert_close(loss.detach().float(), expected, rtol=0.01, atol=0.0)
    loss.backward()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32, name
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_merged_and_running_adapters_compute_the_same_as_on_the_cpu(
    assets: Path, golden: dict[str, Tensor], device: torch.device, tmp_path: Path
) -> None:
    base = assets / "text2semantic"
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        save_adapter(random_adapter(load_dual_ar(base), seed), folder)
    switched = load_dual_ar(base, device=device)
    found = []
    for folder in folders:
        adapter = read_adapter_for(switched, folder)
        use_adapter(switched, load_weights(base / "model.pth"), adapter)
        running = load_adapter(load_dual_ar(base, device=device), folder)
        expected = logits(load_adapter(load_dual_ar(base), folder), golden)
        for model in (switched, running):
            torch.testing.assert_close(logits(model, golden), expected, rtol=1e-4, atol=1e-3)
        found.append(expected)
    assert (found[0] - found[1]).abs().max() > 0.1


@torch.inference_mode()
def logits(model: nn.Module, golden: dict[str, Tensor]) -> Tensor:
    """Compute logits of some tokens on the model's device, and return them on the CPU."""
    inputs = golden["inputs"][:, :, :40].to(next(model.parameters()).device)
    token_logits: Tensor = model(inputs).token_logits
    return token_logits.cpu()


def random_adapter(model: DualAR, seed: int) -> PeftModel:
    torch.manual_seed(seed)
    adapted = add_adapter(model, r=2, alpha=4, dropout=0.0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return adapted
