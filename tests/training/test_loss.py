"""The loss: numbers of the reference, gradients of the plain formula, chunks, edge cases."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

import fishdvc.training.loss as loss_module
from fishdvc.dataset.collate import Batch, batch_of
from fishdvc.dataset.examples import LabelCounts
from fishdvc.lora.adapter import add_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import dual_ar_loss


@pytest.fixture
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic")


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/forward.safetensors")


def batch_from(inputs: Tensor, labels: Tensor) -> Batch:
    return batch_of(inputs.numpy(), labels.numpy())


@pytest.fixture
def batch(golden: dict[str, Tensor]) -> Batch:
    return batch_from(golden["inputs"], golden["labels"])


@pytest.fixture(params=["whole", "small chunks"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small chunks":
        monkeypatch.setattr(loss_module, "LOGITS_PER_CHUNK", 2063 * 10)
        monkeypatch.setattr(loss_module, "_FRAMES_PER_CHUNK_CPU", 7)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("with_gradients", [False, True])
def test_the_loss_equals_that_of_the_reference(
    model: DualAR, golden: dict[str, Tensor], batch: Batch, wrapped: bool, with_gradients: bool
) -> None:
    if wrapped:
        model = add_adapter(model, r=2, alpha=4, dropout=0.0)
    with torch.set_grad_enabled(with_gradients):
        result = dual_ar_loss(model, batch)
    pairs = {
        "loss": result.loss,
        "base_loss": result.token_loss,
        "semantic_loss": result.code_loss,
        "top_5_accuracy": result.top_5_accuracy,
    }
    for name, got in pairs.items():
        expected = golden[f"log.{name}"].squeeze()
        torch.testing.assert_close(got.detach(), expected, rtol=0, atol=1e-5)
    assert result.loss.requires_grad == with_gradients


def plain_loss(model: DualAR, inputs: Tensor, labels: Tensor) -> Tensor:
    """The formula of the reference on all logits."""
    output = model(inputs)
    base = cross_entropy(output.token_logits.flatten(0, 1), labels[:, 0].flatten())
    code_labels = labels[:, 1:].transpose(1, 2).flatten()
    return base + cross_entropy(output.codebook_logits.flatten(0, 2), code_labels)


@pytest.mark.usefixtures("_chunks")
def test_gradients_equal_those_of_the_plain_formula(
    model: DualAR, golden: dict[str, Tensor], batch: Batch
) -> None:
    plain_loss(model, golden["inputs"], golden["labels"]).mul(3.0).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    dual_ar_loss(model, batch).loss.mul(3.0).backward()
    for name, parameter in model.named_parameters():
        difference = (parameter.grad - expected[name]).norm()
        assert difference <= 1e-5 * expected[name].norm(), name


@pytest.mark.parametrize("num_checkpointed", [2, 4, 5])
def test_gradient_checkpointing_changes_no_gradient(
    model: DualAR, batch: Batch, num_checkpointed: int
) -> None:
    """The model has three slow blocks and two fast ones."""
    runs = []
    counts = {"slow": 0, "fast": 0}
    for name, layers in (("slow", model.layers), ("fast", model.fast_layers)):
        for layer in layers:

            def count(*_: object, name: str = name) -> None:
                counts[name] += 1

            layer.register_forward_pre_hook(count)
    adapted = add_adapter(model, r=2, alpha=4, dropout=0.3).train()
    trained = [p for p in adapted.parameters() if p.requires_grad]
    for parameter in trained:
        torch.nn.init.normal_(parameter, std=0.1)
    for checkpointed in (0, num_checkpointed):
        model.num_checkpointed = checkpointed
        counts.update(slow=0, fast=0)
        torch.manual_seed(0)
        adapted.zero_grad()
        dual_ar_loss(adapted, batch).loss.backward()
        runs.append(([p.grad.clone() for p in trained], dict(counts)))
    (expected, before), (gradients, after) = runs
    torch.testing.assert_close(gradients, expected, rtol=0, atol=0)
    assert after["slow"] == before["slow"] + min(3, num_checkpointed)
    num_chunks = before["fast"] // 2
    assert after["fast"] == before["fast"] + max(0, num_checkpointed - 3) * num_chunks


def test_padding_is_skipped(model: DualAR, golden: dict[str, Tensor], batch: Batch) -> None:
    rows = []
    feed_forward = model.layers[0].feed_forward
    feed_forward.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    dual_ar_loss(model, batch)
    has_label = (golden["labels"] != -100).any(1)
    assert rows == [sum(int(row.nonzero().max()) + 1 for row in has_label)]


def test_labels_without_a_frame_count_as_a_uniform_guess(model: DualAR) -> None:
    inputs = torch.zeros(1, 9, 2, dtype=torch.long)
    labels = torch.full((1, 9, 2), -100)
    labels[0, 1:, 1] = 0
    result = dual_ar_loss(model, batch_from(inputs, labels))
    assert result.code_loss.item() == pytest.approx(math.log(1024))
    assert result.token_loss == 0
    result.loss.backward()


def test_a_batch_without_labels_has_loss_0(model: DualAR) -> None:
    inputs = torch.zeros(2, 9, 3, dtype=torch.long)
    result = dual_ar_loss(model, batch_from(inputs, torch.full_like(inputs, -100)))
    assert result.loss == 0
    result.loss.backward()


def test_the_loss_of_a_bfloat16_model_is_summed_in_float32(assets: Path, batch: Batch) -> None:
    model = load_dual_ar(assets / "text2semantic", dtype=torch.bfloat16)
    result = dual_ar_loss(model, batch)
    for name, value in vars(result).items():
        assert value.dtype == torch.float32, name


def test_accuracy_excludes_code_0(model: DualAR, monkeypatch: pytest.MonkeyPatch) -> None:
    def codebook_logits(hidden: Tensor, codes: Tensor) -> Tensor:
        logits = -torch.arange(1024.0).expand(*codes.shape, 1024)  # 0..4 are the most likely
        return logits + 0 * hidden.sum()

    monkeypatch.setattr(model, "codebook_logits", codebook_logits)
    inputs = torch.ones(1, 9, 2, dtype=torch.long)
    labels = torch.full((1, 9, 2), -100)
    labels[0, 1:, 0] = torch.tensor([0, 0, 0, 1, 4, 5, 9, -100])
    result = dual_ar_loss(model, batch_from(inputs, labels))
    assert result.top_5_accuracy == 0.5


def test_sums_are_divided_by_the_divisors(model: DualAR, batch: Batch) -> None:
    divisors = LabelCounts(batch.counts.tokens * 2, batch.counts.codes * 4, 10)
    result = dual_ar_loss(model, batch)
    divided = dual_ar_loss(model, batch._replace(divisors=divisors))
    torch.testing.assert_close(divided.token_loss, result.token_loss / 2)
    torch.testing.assert_close(divided.code_loss, result.code_loss / 4)
    torch.testing.assert_close(divided.loss, result.token_loss / 2 + result.code_loss / 4)
    num_right = result.top_5_accuracy * batch.counts.ranked_codes
    torch.testing.assert_close(divided.top_5_accuracy, num_right / 10)
