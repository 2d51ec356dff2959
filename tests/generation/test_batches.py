"""Batches: every sequence becomes what it becomes alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.generation.generate import generate
from fishdvc.generation.settings import Sampling
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR

SEMANTIC_BEGIN_ID = 1036
SAMPLING = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3)


@pytest.fixture(scope="module")
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic")


@pytest.fixture(scope="module")
def prompts(assets: Path) -> list[Tensor]:
    """Prompts of five lengths: the reference's two, and beginnings of them."""
    golden = load_file(assets / "text2semantic/greedy.safetensors")
    plain, reference = golden["plain.prompt"], golden["reference.prompt"]
    return [plain, reference, plain[:, :9], reference[:, :20], plain[:, :1]]


@pytest.mark.parametrize("end_id", [None, SEMANTIC_BEGIN_ID + 3])
def test_ragged_prompts_with_seeds_get_what_they_get_alone(
    model: DualAR, prompts: list[Tensor], end_id: int | None
) -> None:
    together = generate(
        model, prompts, seeds=range(5), max_new_frames=30, sampling=SAMPLING, end_id=end_id
    )
    for seed, (prompt, codes) in enumerate(zip(prompts, together, strict=True)):
        (alone,) = generate(
            model, [prompt], seeds=[seed], max_new_frames=30, sampling=SAMPLING, end_id=end_id
        )
        assert torch.equal(codes, alone)


def test_sequences_that_end_leave_the_others_alone(
    model: DualAR, prompts: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    end_id = SEMANTIC_BEGIN_ID - 8

    def token_logits(hidden: Tensor) -> Tensor:
        logits = DualAR.token_logits(model, hidden).clone()
        logits[:, end_id] = logits.logsumexp(dim=1) - 2
        return logits

    monkeypatch.setattr(model, "token_logits", token_logits)
    batches: list[int] = []
    run = model.hidden_states

    def hidden_states(inputs: Tensor, **options: object) -> Tensor:
        batches.append(len(inputs))
        return run(inputs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "hidden_states", hidden_states)
    seeds = [7, 8, 9, 7, 10, 11]
    options = {"max_new_frames": 40, "sampling": SAMPLING, "end_id": end_id}
    ragged = [prompts[i] for i in (0, 1, 2, 0, 3, 4)]
    many = generate(model, ragged, seeds=seeds, **options)  # type: ignore[arg-type]
    steps = batches[6:]
    lengths = [codes.shape[1] for codes in many]
    assert torch.equal(many[0], many[3])
    assert len(set(lengths)) > 2
    # Who has ended costs nothing more.
    assert steps == [sum(length > i for length in lengths) for i in range(len(steps))]
    for seed, prompt, codes in zip(seeds, ragged, many, strict=True):
        (alone,) = generate(model, [prompt], seeds=[seed], **options)  # type: ignore[arg-type]
        assert torch.equal(codes, alone)


def test_progress_is_told_frame_by_frame(model: DualAR, prompts: list[Tensor]) -> None:
    told: list[int] = []
    generate(
        model,
        prompts[:2],
        seeds=[0, 1],
        max_new_frames=4,
        sampling=SAMPLING,
        end_id=None,
        on_frame=told.append,
    )
    assert told == [1, 2, 3, 4]
