"""A batch gives the codes that each prompt gives alone."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from fishdvc.generation.generate import generate
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR

SEMANTIC_BEGIN_ID = 1036
SAMPLING = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3)


@pytest.fixture(scope="module")
def prompts(golden: dict[str, Tensor]) -> list[Tensor]:
    """Prompts of five lengths: the two of the reference implementation, and beginnings of them."""
    plain, reference = golden["plain.prompt"], golden["reference.prompt"]
    return [plain, reference, plain[:, :9], reference[:, :20], plain[:, :1]]


def test_ended_sequences_leave_the_batch_and_do_not_change_the_others(
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
    calls = Mock()
    options = {"max_new_frames": 40, "sampling": SAMPLING, "end_id": end_id}
    ragged = [prompts[i] for i in (0, 1, 2, 0, 3, 4)]
    many = generate(model, ragged, seeds=seeds, on_frame=calls, **options)  # type: ignore[arg-type]
    steps = batches[6:]
    lengths = [codes.shape[1] for codes in many]
    assert torch.equal(many[0], many[3])
    assert len(set(lengths)) > 2
    assert calls.call_count == max(lengths)
    assert steps == [sum(length > i for length in lengths) for i in range(len(steps))]
    for seed, prompt, codes in zip(seeds, ragged, many, strict=True):
        (alone,) = generate(model, [prompt], seeds=[seed], **options)  # type: ignore[arg-type]
        assert torch.equal(codes, alone)
