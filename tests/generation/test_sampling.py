"""One draw: window, penalty, nucleus and temperature."""

import torch

from fishdvc.generation.sampling import penalize, sample


def test_the_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    logits = torch.tensor([[3.0, -3.0, 1.0, 0.0, 5.0]])
    penalties = torch.tensor([[2.0, 2.0, 1.0, 2.0, 1.0]])
    expected = torch.tensor([[1.5, -6.0, 1.0, 0.0, 5.0]])
    torch.testing.assert_close(penalize(logits, penalties), expected)


def frequencies(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(20_000, generator=generator)
    chosen = sample(logits.expand(20_000, -1), uniform, temperature=temperature, top_p=top_p)
    return torch.bincount(chosen, minlength=logits.shape[-1]) / 20_000


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    of_half = frequencies(logits, temperature=1.0, top_p=0.49)
    torch.testing.assert_close(of_half, torch.tensor([0.0, 1.0, 0.0, 0.0]))
    of_two = frequencies(logits, temperature=1.0, top_p=0.6)
    torch.testing.assert_close(of_two, torch.tensor([0, 2 / 3, 0, 1 / 3]), rtol=0, atol=0.015)


def test_the_nucleus_is_taken_before_the_temperature() -> None:
    # At temperature 10 the four are nearly equal, and a nucleus of 0.6 would have three of them.
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    drawn = frequencies(logits, temperature=10.0, top_p=0.6)
    assert drawn[[0, 2]].tolist() == [0.0, 0.0]
    expected = (logits[[1, 3]] / 10).softmax(-1)
    torch.testing.assert_close(drawn[[1, 3]], expected, rtol=0, atol=0.015)


def test_the_full_nucleus_draws_by_probability_and_temperature() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    drawn = frequencies(logits, temperature=0.5, top_p=1.0)
    torch.testing.assert_close(drawn, (logits / 0.5).softmax(-1), rtol=0, atol=0.015)


def test_uniform_numbers_select_by_cumulative_probability_most_likely_first() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(6, -1)
    uniform = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 1.0])
    chosen = sample(logits, uniform, temperature=1.0, top_p=1.0)
    assert chosen.tolist() == [1, 1, 3, 3, 2, 0]
    # No choice outside the nucleus, however its probabilities are rounded.
    chosen = sample(logits, uniform, temperature=1.0, top_p=0.6)
    assert chosen.tolist() == [1, 1, 1, 3, 3, 3]
