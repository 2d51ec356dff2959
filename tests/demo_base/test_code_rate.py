import math

import pytest
import torch

from demo_base.recipe.code_rate import CodePredictor, code_nats
from demo_base.recipe.phones import LABELS_PER_FRAME
from fishdvc.codec.quantizer import FiniteScalarQuantizer

NUM_CODEBOOKS, COORDINATES, NUM_PHONES = 3, 2, 5


def all_values(fsq: FiniteScalarQuantizer) -> torch.Tensor:
    return fsq.codes_to_values(torch.arange(fsq.codebook_size))


@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (0.9, -1.0), (-3.0, 2.0)])
def test_the_probabilities_of_all_codes_add_up_to_one(mean: float, log_scale: float) -> None:
    fsq = FiniteScalarQuantizer([8, 5])
    values = all_values(fsq)
    nats = code_nats(fsq, values, torch.full_like(values, mean), torch.full_like(values, log_scale))
    assert nats.shape == (40,)
    assert (-nats).exp().sum().item() == pytest.approx(1, abs=1e-3)


def test_the_nats_are_those_of_the_logistic_distribution() -> None:
    fsq = FiniteScalarQuantizer([5])
    value, mean, log_scale = (torch.tensor([x], dtype=torch.float32) for x in (0.5, 0.25, 0.7))
    # Level 1 of -2 to 2, the mean is at level 0.5.
    edges = [1 / (1 + math.exp(-distance / math.exp(0.7))) for distance in (0.0, 1.0)]
    expected = -math.log(edges[1] - edges[0])
    assert code_nats(fsq, value, mean, log_scale).item() == pytest.approx(expected, rel=1e-5)


def test_the_rate_falls_if_a_value_moves_to_the_mean() -> None:
    fsq = FiniteScalarQuantizer([5, 5])
    values = torch.tensor([[0.5, -0.5]], requires_grad=True)
    mean = torch.zeros(1, 2)
    code_nats(fsq, values, mean, torch.zeros(1, 2)).sum().backward()
    assert values.grad is not None
    assert values.grad[0, 0] > 0
    assert values.grad[0, 1] < 0


def predict(
    predictor: CodePredictor, values: torch.Tensor, labels: torch.Tensor
) -> list[torch.Tensor]:
    return [torch.cat(p, dim=-1) for p in predictor(list(values.unbind(0)), labels)]


def test_a_code_is_predicted_from_past_frames_and_earlier_codes_of_its_frame() -> None:
    torch.manual_seed(0)
    predictor = CodePredictor(NUM_CODEBOOKS, COORDINATES, NUM_PHONES)
    values = torch.randn(NUM_CODEBOOKS, 1, 30, COORDINATES)
    labels = torch.rand(1, 30 * LABELS_PER_FRAME, NUM_PHONES)
    before = predict(predictor, values, labels)
    assert [p.shape for p in before] == [(1, 30, 2 * COORDINATES)] * NUM_CODEBOOKS

    changed = values.clone()
    changed[1, 0, 20] += 1
    after = predict(predictor, changed, labels)
    frames_that_differ = [
        (a != b).any(dim=-1)[0].nonzero().flatten().tolist()
        for a, b in zip(after, before, strict=True)
    ]
    assert frames_that_differ[0] == list(range(21, 30))
    assert frames_that_differ[1] == list(range(21, 30))
    assert frames_that_differ[2] == list(range(20, 30))


def test_phones_are_read_around_their_frame() -> None:
    torch.manual_seed(0)
    predictor = CodePredictor(NUM_CODEBOOKS, COORDINATES, NUM_PHONES)
    values = torch.zeros(NUM_CODEBOOKS, 1, 30, COORDINATES)
    labels = torch.zeros(1, 30 * LABELS_PER_FRAME, NUM_PHONES)
    before = predict(predictor, values, labels)[0]
    labels[0, 20 * LABELS_PER_FRAME] = 1
    after = predict(predictor, values, labels)[0]
    differ = (after != before).any(dim=-1)[0].nonzero().flatten().tolist()
    # The first frames that see it are two frames before it.
    assert differ[0] == 18
    assert set(range(18, 30)) == set(differ)
