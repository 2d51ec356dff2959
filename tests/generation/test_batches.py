"""A batch gives the codes that each prompt gives alone."""

from collections.abc import Callable
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from fishdvc.generation import generate as generate_module
from fishdvc.generation.batch import Batch
from fishdvc.generation.generate import Generator
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR

SEMANTIC_BEGIN_ID = 1036
END_ID = SEMANTIC_BEGIN_ID - 8
SAMPLING = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3)
SEEDS = [7, 8, 9, 7, 10, 11]


@pytest.fixture(scope="module")
def prompts(golden: dict[str, Tensor]) -> list[Tensor]:
    """Prompts of five lengths: the two of the reference implementation, and beginnings of them."""
    plain, reference = golden["plain.prompt"], golden["reference.prompt"]
    return [plain, reference, plain[:, :9], plain, reference[:, :20], plain[:, :1]]


@pytest.fixture
def likely_end(model: DualAR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the end token a probability of about 0.12 in each frame."""

    def logits_of(ids: Tensor, hidden: Tensor) -> Tensor:
        logits = DualAR.logits_of(model, ids, hidden)
        logits[:, ids == END_ID] = (logits.logsumexp(dim=1) - 2).unsqueeze(1)
        return logits

    monkeypatch.setattr(model, "logits_of", logits_of)


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Numbers of rows and of slots of all steps."""
    taken = []
    step: Callable[..., None] = Batch.step

    def record(batch: Batch, num_rows: int, num_slots: int) -> None:
        taken.append((num_rows, num_slots))
        step(batch, num_rows, num_slots)

    monkeypatch.setattr(Batch, "step", record)
    return taken


def alone(model: DualAR, prompts: list[Tensor], max_new_frames: int = 40) -> list[Tensor]:
    generator = Generator(model, sampling=SAMPLING, end_id=END_ID)
    return [
        generator.generate([prompt], seeds=[seed], max_new_frames=max_new_frames)[0]
        for prompt, seed in zip(prompts, SEEDS, strict=True)
    ]


@pytest.mark.usefixtures("likely_end")
def test_ended_sequences_leave_the_batch_and_do_not_change_the_others(
    model: DualAR, prompts: list[Tensor], widths: list[tuple[int, int]]
) -> None:
    expected = alone(model, prompts)
    widths.clear()
    calls = Mock()
    generator = Generator(model, sampling=SAMPLING, end_id=END_ID)
    codes = generator.generate(prompts, seeds=SEEDS, max_new_frames=40, on_frame=calls)
    for got, of_prompt in zip(codes, expected, strict=True):
        assert torch.equal(got, of_prompt)
    assert torch.equal(codes[0], codes[3])
    lengths = [of_prompt.shape[1] for of_prompt in codes]
    assert len(set(lengths)) > 3
    # A sequence that ends by itself takes one more step, for its end token.
    steps = [min(length + 1, 40) for length in lengths]
    assert [rows for rows, _ in widths] == [
        sum(of_prompt > i for of_prompt in steps) for i in range(max(steps))
    ]
    assert calls.call_count == max(steps)


@pytest.mark.usefixtures("likely_end")
@pytest.mark.parametrize("like_a_gpu", [False, True])
def test_waiting_prompts_take_the_place_of_ended_ones(
    model: DualAR,
    prompts: list[Tensor],
    widths: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    like_a_gpu: bool,
) -> None:
    expected = alone(model, prompts)
    widths.clear()
    monkeypatch.setattr(generate_module, "uses_cuda_graphs", lambda _: like_a_gpu)
    generator = Generator(model, sampling=SAMPLING, end_id=END_ID, batch_size=4)
    codes = generator.generate(prompts, seeds=SEEDS, max_new_frames=40)
    for got, of_prompt in zip(codes, expected, strict=True):
        assert torch.equal(got, of_prompt)
    numbers = {rows for rows, _ in widths}
    assert max(numbers) == 4
    assert (3 in numbers) is not like_a_gpu
    assert {places for _, places in widths} == {64, 128}


@pytest.mark.usefixtures("likely_end")
def test_a_generator_keeps_its_memory_until_more_is_needed(
    model: DualAR, prompts: list[Tensor]
) -> None:
    generator = Generator(model, sampling=SAMPLING, end_id=END_ID)
    generator.generate(prompts[:3], seeds=[1, 2, 3], max_new_frames=40)
    first = generator._batch
    (short,) = generator.generate(prompts[:1], seeds=[7], max_new_frames=5)
    assert generator._batch is first
    assert torch.equal(short, alone(model, prompts, 5)[0])
    (long,) = generator.generate(prompts[:1], seeds=[7], max_new_frames=200)
    assert generator._batch is not first
    assert torch.equal(long[:, :5], short)
