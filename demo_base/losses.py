"""How far a decoded waveform is from the original, by spectra only: phases are free.

Knows nothing of codecs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fishdvc.audio.mel import LogMelSpectrogram

FLOOR = 1e-3
"""Added to magnitudes: what lies under it is silence, whose logarithm would outweigh speech."""


class SpectralLoss(nn.Module):
    """Multi-resolution STFT loss (Yamamoto et al. 2020, https://arxiv.org/abs/1910.11480).

    With the log-mel term of HiFi-GAN (Kong et al. 2020, https://arxiv.org/abs/2010.05646).
    """

    def __init__(self, log_mel: LogMelSpectrogram, windows: Sequence[int]) -> None:
        """Take the spectrogram that the codec encodes, and window lengths in samples."""
        super().__init__()
        self.log_mel = log_mel
        self.windows = windows

    def forward(self, decoded: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
        """Compare waveforms ``(batch, samples)``.

        Returns:
            The loss, and in it the mean absolute error of the log-mel spectrogram.
        """
        mel_error = (self.log_mel(decoded) - self.log_mel(original)).abs().mean()
        total = mel_error.new_zeros(())
        for length in self.windows:
            ours, theirs = _magnitudes(decoded, length), _magnitudes(original, length)
            total = total + (ours - theirs).norm() / theirs.norm()
            total = total + ((ours + FLOOR).log() - (theirs + FLOOR).log()).abs().mean()
        return mel_error + total / len(self.windows), mel_error


def _magnitudes(audio: Tensor, length: int) -> Tensor:
    window = torch.hann_window(length)
    spectrum = torch.stft(audio, length, length // 4, window=window, return_complex=True)
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9) / window.sum()
