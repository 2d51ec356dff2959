"""The estimate of a step's memory, against figures of a GPU and against the activations saved."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fishdvc.lora.adapter import add_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.memory import USABLE_SHARE, StepMemory, num_checkpointed
from tests.model.full_size import FULL_SIZE
from tests.sections import shipped


def full_size(num_tokens: int) -> StepMemory:
    return StepMemory(FULL_SIZE, 637_921_280, 6_171_136, 2, num_tokens)


@pytest.mark.parametrize(
    ("length", "without_gb", "with_gb"),
    [(512, 8.5, 2.6), (1024, 12.7, 2.7), (2048, 21.0, 3.0), (4096, 37.4, 4.3)],
)
def test_the_estimate_is_near_the_peak_measured_on_an_h200(
    length: int, without_gb: float, with_gb: float
) -> None:
    memory = full_size(4 * length)
    # When it was measured, adapters kept their inputs in float32, two bytes per value more.
    more_per_block = 2 * (4 * FULL_SIZE.dim + FULL_SIZE.intermediate_size)
    more = more_per_block * (24 * memory.num_tokens + 4 * 8 * 1024)
    assert (memory.step_bytes(0) + more) / 1e9 == pytest.approx(without_gb, rel=0.06)
    assert memory.step_bytes(28) / 1e9 == pytest.approx(with_gb, rel=0.1)


def test_every_further_checkpointed_block_saves_memory() -> None:
    sizes = [full_size(8192).step_bytes(k) for k in range(29)]
    for transformer in (sizes[1:25], sizes[25:]):
        # The first one saves nothing, because one block at a time is recomputed.
        assert sorted(transformer, reverse=True) == transformer


def test_the_estimate_contains_the_largest_phase_and_the_optimizer() -> None:
    few, many, more = (full_size(num_tokens) for num_tokens in (128, 2**16, 2**17))
    # All logits of a few tokens, with the intermediate results of the cross entropy in float32.
    assert few.step_bytes(28) > few.num_frozen * 2 + 128 * FULL_SIZE.vocab_size * 40
    # Inputs of checkpointed blocks, one recomputed block and the gradients in its feed-forward.
    per_token = 24 * 2 * FULL_SIZE.dim + many.block_bytes() + 4 * 2 * FULL_SIZE.intermediate_size
    assert more.step_bytes(28) - many.step_bytes(28) >= 2**16 * per_token
    # The value, two gradients and two moments of AdamW.
    larger = dataclasses.replace(few, num_trained=few.num_trained + 1)
    assert larger.step_bytes(0) - few.step_bytes(0) == 5 * 4


@pytest.mark.parametrize(("free_gb", "expected"), [(80, 0), (2, 28)])
def test_blocks_are_checkpointed_only_if_memory_is_short(free_gb: int, expected: int) -> None:
    assert full_size(8192).blocks_to_checkpoint(free_gb * 10**9) == expected


def test_as_few_blocks_as_possible_are_checkpointed() -> None:
    memory = full_size(8192)
    free_bytes = 12 * 10**9
    chosen = memory.blocks_to_checkpoint(free_bytes)
    assert 0 < chosen < 24
    assert memory.step_bytes(chosen) <= 0.9 * free_bytes < memory.step_bytes(chosen - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_block_keeps_as_many_bytes_as_estimated(dtype: torch.dtype) -> None:
    sizes = {"dim": 256, "fast_dim": 256, "intermediate_size": 1024, "vocab_size": 2048}
    config = FULL_SIZE.model_copy(update={**sizes, "n_head": 4, "n_local_heads": 1})
    num_tokens = 400

    def kept_bytes(num_layers: int) -> int:
        model = DualAR(config.model_copy(update={"n_layer": num_layers}), semantic_begin_id=1000)
        adapted = add_adapter(model.to(dtype), r=1, alpha=1, dropout=0.1).train()
        weights = {p.untyped_storage().data_ptr() for p in adapted.parameters()}
        kept: dict[int, Any] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden = adapted.hidden_states(torch.zeros(1, 9, num_tokens, dtype=torch.long))
        assert hidden.requires_grad
        return sum(storage.nbytes() for storage in kept.values())

    value_bytes = dtype.itemsize
    measured = (kept_bytes(3) - kept_bytes(1)) / 2 / num_tokens
    # On the CPU, masks of dropout have the type of the activations.
    measured -= (value_bytes - 1) * (4 * config.dim + config.intermediate_size)
    estimate = StepMemory(config, 0, 0, value_bytes, num_tokens).block_bytes()
    assert measured <= estimate * 1.03
    assert measured >= estimate * 0.8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("mode", "device"), [("auto", "cuda"), ("auto", "cpu"), ("on", "cpu")])
def test_the_number_of_checkpointed_blocks_is_that_of_the_batch_and_the_free_memory(
    mode: str, device: str, dtype: torch.dtype, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_dual_ar(assets / "text2semantic", dtype=dtype)
    num_frozen = sum(parameter.numel() for parameter in model.parameters())
    adapted = add_adapter(model, r=2, alpha=4, dropout=0.1)
    num_trained = sum(p.numel() for p in adapted.parameters()) - num_frozen
    memory = StepMemory(model.config, num_frozen, num_trained, dtype.itemsize, 3 * 400)
    # Just enough for three checkpointed blocks.
    free_bytes = int(memory.step_bytes(3) / USABLE_SHARE) + 1
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free_bytes, 0))
    params = shipped("train_lora", gradient_checkpointing=mode, batch_size=3, max_length=400)
    expected = {("auto", "cuda"): 3, ("auto", "cpu"): 0, ("on", "cpu"): 5}[mode, device]
    assert num_checkpointed(params, model, torch.device(device)) == expected
