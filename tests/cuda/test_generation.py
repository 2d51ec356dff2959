"""Generation on a GPU: greedy sequences of the reference, seeds, and batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.generation.generate import generate
from fishdvc.generation.settings import Sampling
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR

pytestmark = pytest.mark.cuda

SEMANTIC_BEGIN_ID = 1036
GREEDY = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1.2)
RANDOM = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3)


@pytest.fixture(scope="module")
def model(assets: Path, device: torch.device) -> DualAR:
    return load_dual_ar(assets / "text2semantic", device=device)


@pytest.fixture(scope="module")
def golden(assets: Path, device: torch.device) -> dict[str, Tensor]:
    tensors = load_file(assets / "text2semantic/greedy.safetensors")
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def continued(model: DualAR, prompts: list[Tensor], sampling: Sampling, **options: Any) -> Any:
    """Continue prompts, with seed ``i`` for prompt ``i`` unless seeds are given."""
    defaults: dict[str, Any] = {"seeds": list(range(len(prompts))), "end_id": None}
    return generate(model, prompts, sampling=sampling, **(defaults | options))


@pytest.mark.parametrize("case", ["plain", "reference"])
def test_greedy_sequences_equal_the_reference_implementation(
    model: DualAR, golden: dict[str, Tensor], case: str
) -> None:
    prompt = golden[f"{case}.prompt"]
    (codes,) = continued(model, [prompt], GREEDY, max_new_frames=24)
    new = torch.cat((codes[:1] + SEMANTIC_BEGIN_ID, codes))
    sequence = torch.cat((prompt, new), dim=1)
    torch.testing.assert_close(sequence, golden[f"{case}.sequence"].long(), rtol=0, atol=0)


def test_a_seed_gives_the_codes_that_it_gives_on_the_cpu(
    assets: Path, model: DualAR, golden: dict[str, Tensor]
) -> None:
    prompt = golden["plain.prompt"]
    (codes,) = continued(model, [prompt], RANDOM, max_new_frames=24)
    on_cpu = load_dual_ar(assets / "text2semantic")
    (expected,) = continued(on_cpu, [prompt.cpu()], RANDOM, max_new_frames=24)
    assert torch.equal(codes.cpu(), expected)


def test_a_batch_gives_the_codes_that_each_prompt_gives_alone(
    model: DualAR, golden: dict[str, Tensor]
) -> None:
    plain, reference = golden["plain.prompt"], golden["reference.prompt"]
    prompts = [plain, reference, plain[:, :9], reference[:, :20], plain[:, :1]]
    options = {"max_new_frames": 20, "end_id": 1028}
    together = continued(model, prompts, RANDOM, **options)
    for seed, (prompt, codes) in enumerate(zip(prompts, together, strict=True)):
        (alone,) = continued(model, [prompt], RANDOM, seeds=[seed], **options)
        assert torch.equal(codes, alone)
