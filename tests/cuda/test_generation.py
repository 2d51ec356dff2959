"""Generation on a GPU: greedy sequences of the reference, seeds, and batches."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.generation.generate import Generator
from fishdvc.generation.settings import Sampling
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR

pytestmark = pytest.mark.cuda

SEMANTIC_BEGIN_ID = 1036
END_ID = 1028
GREEDY = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1.2)
RANDOM = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3)


@pytest.fixture(scope="module")
def model(assets: Path, device: torch.device) -> DualAR:
    return load_dual_ar(assets / "text2semantic", device=device)


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/greedy.safetensors")


def continued(model: DualAR, prompt: Tensor, sampling: Sampling, seed: int = 0) -> Tensor:
    """Continue one prompt by 24 frames."""
    generator = Generator(model, sampling=sampling, end_id=None)
    (codes,) = generator.generate([prompt], seeds=[seed], max_new_frames=24)
    return codes


@pytest.mark.parametrize("case", ["plain", "reference"])
def test_greedy_sequences_equal_the_reference_implementation(
    model: DualAR, golden: dict[str, Tensor], case: str
) -> None:
    prompt = golden[f"{case}.prompt"]
    codes = continued(model, prompt, GREEDY)
    new = torch.cat((codes[:1] + SEMANTIC_BEGIN_ID, codes))
    sequence = torch.cat((prompt, new), dim=1)
    torch.testing.assert_close(sequence, golden[f"{case}.sequence"].long(), rtol=0, atol=0)


def test_a_seed_gives_the_codes_that_it_gives_on_the_cpu(
    assets: Path, model: DualAR, golden: dict[str, Tensor]
) -> None:
    on_cpu = load_dual_ar(assets / "text2semantic")
    expected = continued(on_cpu, golden["plain.prompt"], RANDOM, seed=3)
    assert torch.equal(continued(model, golden["plain.prompt"], RANDOM, seed=3), expected)


def test_waiting_and_ended_sequences_get_the_codes_that_each_gets_alone(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits_of(ids: Tensor, hidden: Tensor) -> Tensor:
        """Make the end token likely, so that sequences have different lengths."""
        logits = DualAR.logits_of(model, ids, hidden)
        # Without indexing by a mask, which cannot be captured in a CUDA graph.
        return torch.where(ids == END_ID, logits.logsumexp(dim=1, keepdim=True) - 2, logits)

    monkeypatch.setattr(model, "logits_of", logits_of)
    plain, reference = golden["plain.prompt"], golden["reference.prompt"]
    prompts = [plain, reference, plain[:, :9], reference[:, :20], plain[:, :1], plain]
    seeds = [7, 8, 9, 10, 11, 7]
    generator = Generator(model, sampling=RANDOM, end_id=END_ID, batch_size=4)
    for _ in range(2):  # The second time, all CUDA graphs exist.
        together = generator.generate(prompts, seeds=seeds, max_new_frames=24)
        assert len({codes.shape[1] for codes in together}) > 2
        for prompt, seed, codes in zip(prompts, seeds, together, strict=True):
            alone = Generator(model, sampling=RANDOM, end_id=END_ID, batch_size=1)
            (expected,) = alone.generate([prompt], seeds=[seed], max_new_frames=24)
            assert torch.equal(codes, expected)
