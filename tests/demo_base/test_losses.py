import math

import pytest
import torch

from demo_base.recipe.losses import MEL_FLOORS, mel_distance


def test_doubling_a_loud_magnitude_costs_log_2_for_each_floor() -> None:
    loud = torch.full((1, 80, 3), 9.0)
    assert mel_distance(loud, loud) == 0
    expected = math.log(2) * sum(MEL_FLOORS.values())
    assert float(mel_distance(loud + math.log(2), loud)) == pytest.approx(expected, rel=1e-4)


def test_the_same_difference_costs_more_at_higher_levels() -> None:
    levels = torch.tensor([-11.5, -8.0, -5.0, -3.0, 0.0])
    distances = [float(mel_distance(level + 0.5, level)) for level in levels]
    assert distances == sorted(distances)
    assert distances[0] < 0.01
    assert distances[-1] > 2 * distances[2]
