"""The learning rate, step by step."""

import pytest
import torch

from fishdvc.training.schedule import constant_after_warmup


def rates(warmup_steps: int, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = constant_after_warmup(optimizer, warmup_steps)
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_it_rises_in_equal_parts_and_stays() -> None:
    assert rates(4, 7) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0])


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_without_a_warm_up_it_is_full_at_once(warmup_steps: int) -> None:
    assert rates(warmup_steps, 3) == [2.0, 2.0, 2.0]
