"""AdapterTraining: trained parameters, optimizer, schedule and logged metrics."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from fishdvc.dataset.collate import Batch
from fishdvc.training.loss import dual_ar_loss
from fishdvc.training.module import TENSOR_METRICS


def test_only_the_adapter_is_trained(make_module: Any, make_trainer: Any, loader: Any) -> None:
    module = make_module()
    before = {name: p.detach().clone() for name, p in module.model.named_parameters()}
    make_trainer().fit(module, loader, loader)
    for name, parameter in module.model.named_parameters():
        # At first B is zero, so A gets a gradient from the second step on.
        assert torch.equal(parameter, before[name]) is ("lora_" not in name), name


def test_the_optimizer_is_that_of_the_reference(make_module: Any) -> None:
    module = make_module(learning_rate=3e-4, warmup_steps=10, weight_decay=0.5)
    configured = module.configure_optimizers()
    optimizer = configured["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.95), 1e-5, 0.5)
    assert group["lr"] == pytest.approx(3e-5)
    assert configured["lr_scheduler"]["interval"] == "step"
    trained = {id(p) for name, p in module.model.named_parameters() if "lora_" in name}
    assert {id(p) for p in group["params"]} == trained


def test_the_validation_loss_is_the_mean_over_all_labels(
    make_module: Any, make_trainer: Any, loader: Any, batches: list[Batch]
) -> None:
    module = make_module()
    (figures,) = make_trainer().validate(module, loader, verbose=False)
    sums = torch.zeros(3, dtype=torch.float64)
    counts = torch.zeros(3, dtype=torch.float64)
    losses = []
    module.eval()
    with torch.inference_mode():
        for batch in batches:
            result = dual_ar_loss(module.model, batch)
            losses.append(float(result.loss))
            parts = (result.token_loss, result.code_loss, result.top_5_accuracy)
            for i, (mean, count) in enumerate(zip(parts, batch.counts, strict=True)):
                sums[i] += float(mean) * count
                counts[i] += count
    token_loss, code_loss, top_5 = (sums / counts).tolist()
    assert figures["val/token_loss"] == pytest.approx(token_loss, rel=1e-5)
    assert figures["val/code_loss"] == pytest.approx(code_loss, rel=1e-5)
    assert figures["val/top_5_accuracy"] == pytest.approx(top_5, rel=1e-5)
    assert figures["val/loss"] == pytest.approx(token_loss + code_loss, rel=1e-5)
    # The mean over batches is another number.
    assert abs(figures["val/loss"] - sum(losses) / len(losses)) > 1e-3


@pytest.mark.parametrize(
    ("warmup_steps", "rates"), [(4, [0.5, 1.0, 1.5, 2.0, 2.0]), (1, [2.0, 2.0]), (0, [2.0, 2.0])]
)
def test_the_learning_rate_rises_linearly_and_stays(
    warmup_steps: int, rates: list[float], make_module: Any
) -> None:
    module = make_module(learning_rate=2.0, warmup_steps=warmup_steps)
    configured = module.configure_optimizers()
    found = []
    for _ in rates:
        found.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert found == pytest.approx(rates)


def test_every_metric_of_a_step_is_logged(
    make_module: Any, make_trainer: Any, loader: Any, batches: list[Batch]
) -> None:
    module = make_module(warmup_steps=2)
    expected = dual_ar_loss(module.model, batches[0])
    expected.loss.backward()
    gradients = [p.grad for p in module.model.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    module.zero_grad()
    trainer = make_trainer(max_steps=1, val_every_steps=1)
    trainer.fit(module, loader, loader)
    tensors = dict(zip(TENSOR_METRICS, module.step_tensors.tolist(), strict=True))
    figures = {f"train/{k}": v for k, v in (tensors | module.step_numbers).items()}
    assert figures["train/loss"] == pytest.approx(expected.loss.item(), rel=1e-5)
    assert figures["train/token_loss"] == pytest.approx(expected.token_loss.item(), rel=1e-5)
    assert figures["train/code_loss"] == pytest.approx(expected.code_loss.item(), rel=1e-5)
    assert figures["train/top_5_accuracy"] == pytest.approx(expected.top_5_accuracy.item())
    assert figures["train/learning_rate"] == pytest.approx(5e-4)
    assert figures["train/grad_norm"] == pytest.approx(norm, rel=1e-3)


class StepRecorder(Callback):
    """Records the metrics of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, _trainer: Any, module: Any, *_: Any) -> None:
        self.losses.append(float(module.step_tensors[0]))
        self.rates.append(module.step_numbers["tokens_per_second"])


def test_the_metrics_of_a_step_are_those_of_its_own_batches(
    make_module: Any,
    make_trainer: Any,
    loader: Any,
    batches: list[Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = make_module(learning_rate=1e-12)
    expected = [dual_ar_loss(module.model, batch).loss.item() for batch in batches]
    # One second between two steps.
    clock = SimpleNamespace(monotonic=itertools.count(0.0).__next__)
    monkeypatch.setattr("fishdvc.training.module.time", clock)
    recorder = StepRecorder()
    make_trainer(recorder, max_steps=4, val_every_steps=5).fit(module, loader, loader)
    assert recorder.losses == pytest.approx(expected, rel=1e-5)
    assert recorder.rates[1:] == [len(batch.positions) for batch in batches[1:]]


def test_dropout_differs_between_batches_processes_and_seeds(
    make_module: Any, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    def seed_of(seed: int, num_batches: int, rank: int) -> int:
        module = make_module(seed=seed)
        module.num_batches = num_batches
        monkeypatch.setattr(type(module), "global_rank", rank)
        module.on_train_batch_start(batches[0], 7)
        return torch.initial_seed()

    triples = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    seeds = [seed_of(*triple) for triple in triples]
    assert len(set(seeds)) == 4
    assert [seed_of(*triple) for triple in triples] == seeds
