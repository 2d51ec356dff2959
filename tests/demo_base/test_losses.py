import math

import pytest
import torch

from demo_base.losses import MEL_FLOORS, mel_distance


def test_equal_spectrograms_have_no_distance() -> None:
    mel = torch.randn(2, 80, 5)
    assert mel_distance(mel, mel) == 0


def test_twice_a_loud_magnitude_costs_a_logarithm_for_each_floor() -> None:
    loud = torch.full((1, 80, 3), 9.0)
    expected = math.log(2) * sum(MEL_FLOORS.values())
    assert float(mel_distance(loud + math.log(2), loud)) == pytest.approx(expected, rel=1e-4)


def test_what_is_not_heard_costs_next_to_nothing() -> None:
    silence, louder_silence = torch.full((1, 80, 3), -11.5), torch.full((1, 80, 3), -9.0)
    assert mel_distance(louder_silence, silence) < 0.05


def test_the_same_difference_costs_more_the_louder_it_is() -> None:
    levels = torch.tensor([-8.0, -5.0, -3.0, 0.0])
    distances = [float(mel_distance(level + 0.5, level)) for level in levels]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[1]
