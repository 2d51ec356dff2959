"""Losses: spectra of decoded and original speech, without phases, and phones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fishdvc.audio.mel import LogMelSpectrogram

FLOOR = 1e-3
"""Added to STFT magnitudes, so that the logarithm of silence does not outweigh speech."""
MEL_FLOORS = {0.003: 1.0, 0.03: 2.0}
"""Values added to mel magnitudes, and the weight of each.

About half of all mel magnitudes of speech lie below the first value, and Whisper reads speech
nearly as well without them. About one in seven lies above the second value; these are the formants.
"""


def mel_distance(decoded: Tensor, original: Tensor) -> Tensor:
    """Compare log-mel spectrograms of the same shape. Loud parts count more.

    Returns:
        Weighted sum over ``MEL_FLOORS`` of the mean absolute difference of log(mel + floor).
    """
    differences = (
        weight * ((decoded.exp() + floor).log() - (original.exp() + floor).log()).abs().mean()
        for floor, weight in MEL_FLOORS.items()
    )
    return torch.stack(list(differences)).sum()


def soft_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Compute the mean cross entropy of shares whose sum is below 1 where nothing is known.

    Args:
        logits: ``(..., classes)``.
        shares: The same shape, from 0 to 1.
    """
    return -(shares * logits.log_softmax(dim=-1)).sum() / shares.sum()


class SpectralLoss(nn.Module):
    """Multi-resolution STFT loss (Yamamoto et al. 2020, https://arxiv.org/abs/1910.11480).

    It adds a log-mel term, as HiFi-GAN does (Kong et al. 2020, https://arxiv.org/abs/2010.05646).
    """

    def __init__(self, log_mel: LogMelSpectrogram, windows: Sequence[int]) -> None:
        """Take the codec's spectrogram, and window lengths in samples."""
        super().__init__()
        self.log_mel = log_mel
        self.windows = windows

    def forward(self, decoded: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
        """Compare waveforms ``(batch, samples)``.

        Returns:
            The loss, and the mean absolute error of the log-mel spectrogram.
        """
        ours, theirs = self.log_mel(decoded), self.log_mel(original)
        distance, mel_error = mel_distance(ours, theirs), (ours - theirs).abs().mean()
        total = distance.new_zeros(())
        for length in self.windows:
            ours, theirs = _magnitudes(decoded, length), _magnitudes(original, length)
            total = total + (ours - theirs).norm() / theirs.norm()
            total = total + ((ours + FLOOR).log() - (theirs + FLOOR).log()).abs().mean()
        return distance + total / len(self.windows), mel_error


def _magnitudes(audio: Tensor, length: int) -> Tensor:
    window = torch.hann_window(length, device=audio.device)
    spectrum = torch.stft(audio, length, length // 4, window=window, return_complex=True)
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9) / window.sum()
