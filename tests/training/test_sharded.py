"""Sharing the frozen base out changes where it lies, and no number."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from fishdvc.dataset.collate import Batch
from fishdvc.lora import add_adapter
from fishdvc.model import load_dual_ar
from fishdvc.training.loss import dual_ar_loss
from fishdvc.training.sharded import ShardedBaseStrategy, shard_frozen


def gradients(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, Any]]:
    model.zero_grad()
    loss = dual_ar_loss(model, batch.inputs, batch.labels).loss  # type: ignore[arg-type]
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def compare(rank: int, base: Path, batches: list[Batch], dtype: torch.dtype, store: Path) -> None:
    """On each of two processes: the whole model's numbers, then those of the sharded one."""
    torch.set_num_threads(1)
    # Processes that do not gather equally often would wait for each other for ever.
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=5),
    )
    torch.manual_seed(0)
    model = load_dual_ar(base, dtype=dtype)
    model.gradient_checkpointing = True
    adapted = add_adapter(model, r=2, alpha=4, dropout=0.0, use_dora=True)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.02)
    # Unequal batches, so unequal numbers of chunks and frames.
    batch = batches[rank + 1]
    expected_loss, expected = gradients(adapted, batch)

    mesh = init_device_mesh("cpu", (2,))
    for _ in range(2):  # Lightning sets up for validation, then again for training.
        shard_frozen(model.layers, mesh)
    for name, parameter in adapted.named_parameters():
        sharded = name.startswith("base_model.model.layers.") and not parameter.requires_grad
        assert isinstance(parameter, DTensor) is sharded, name
        if isinstance(parameter, DTensor):
            assert parameter.to_local().numel() * 2 == parameter.numel(), name

    loss, found = gradients(adapted, batch)
    assert expected.keys() == found.keys()
    torch.testing.assert_close(loss, expected_loss, rtol=0, atol=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with torch.no_grad():
        loss = dual_ar_loss(adapted, batch.inputs, batch.labels).loss  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected_loss)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sharded_base_has_the_same_loss_and_gradients(
    dtype: torch.dtype, assets: Path, batches: list[Batch], tmp_path: Path
) -> None:
    arguments = (assets / "text2semantic", batches, dtype, tmp_path / "store")
    torch.multiprocessing.spawn(compare, arguments, nprocs=2)


def test_fsdp_is_the_strategy_that_shards(make_trainer: Any) -> None:
    trainer = make_trainer(strategy="fsdp", process_group_backend="gloo")
    assert isinstance(trainer.strategy, ShardedBaseStrategy)
    assert trainer.strategy._process_group_backend == "gloo"
    assert trainer.validate_loop.inference_mode is False
    assert not isinstance(make_trainer(strategy="ddp").strategy, ShardedBaseStrategy)
    assert make_trainer().validate_loop.inference_mode is True


def test_on_a_gpu_each_process_shards_on_its_own(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    # Lightning writes the rank of what it builds there, and would take this process for it.
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    strategy = make_trainer(strategy="fsdp", accelerator="cuda", devices=4).strategy
    assert isinstance(strategy, ShardedBaseStrategy)
    assert str(strategy.root_device) == "cuda:3"
    assert strategy.world_size == 4
    assert strategy._get_process_group_backend() == "nccl"
