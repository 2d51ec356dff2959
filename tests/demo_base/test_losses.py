import math

import pytest
import torch

from demo_base.recipe.losses import MEL_FLOORS, SpectralLoss, mel_distance
from fishdvc.audio.mel import LogMelSpectrogram


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


def test_the_spectral_loss_computes_on_the_device_of_the_speech() -> None:
    log_mel = LogMelSpectrogram(sample_rate_hz=16000, n_fft=1024, hop_length=256, num_mels=80)
    speech = torch.empty(2, 4096, device="meta")
    loss, mel_error = SpectralLoss(log_mel.to("meta"), (256, 1024))(speech, speech)
    assert {loss.device.type, mel_error.device.type} == {"meta"}
