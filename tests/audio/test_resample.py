"""Resampling equals torchaudio's, in bounded memory for every pair of rates."""

import numpy as np
import pytest
import torch
import torchaudio.functional

from fishdvc.audio import resample as module
from fishdvc.audio.resample import resample

NOISE = torch.randn(3000, generator=torch.Generator().manual_seed(0)) / 5
TO_HZ = 44100


@pytest.mark.parametrize("from_hz", [16000, 22050, 24000, 32000, 44100, 48000])
def test_usual_rates_are_resampled_by_torchaudio(from_hz: int) -> None:
    expected = torchaudio.functional.resample(NOISE, from_hz, TO_HZ)
    torch.testing.assert_close(resample(NOISE, from_hz, TO_HZ), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(16000, TO_HZ), (48000, TO_HZ), (96000, TO_HZ), (809, 401), (401, 809)]
)
def test_taps_computed_one_by_one_equal_torchaudios(
    from_hz: int, to_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = torchaudio.functional.resample(NOISE, from_hz, to_hz)
    monkeypatch.setattr(module, "MAX_TABLE", 0)
    monkeypatch.setattr(module, "CHUNK", 5000)
    torch.testing.assert_close(resample(NOISE, from_hz, to_hz), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("from_hz", [4001, 8009, 16001, 44101, 48009, 655_349, 767_999])
def test_any_rate_is_resampled_without_a_large_table(
    from_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("torchaudio would build a table of gigabytes")

    monkeypatch.setattr(torchaudio.functional, "resample", fail)
    num_samples = from_hz // 10
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * np.arange(num_samples) / from_hz)).float()
    resampled = resample(tone, from_hz, TO_HZ)
    assert len(resampled) == -(-num_samples * TO_HZ // from_hz)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(resampled)) / TO_HZ)
    np.testing.assert_allclose(resampled[200:-200], expected[200:-200], rtol=0, atol=2e-3)
