"""The log-mel spectrogram, the input of the codec's encoder."""

import torch
import torchaudio.functional as audio_functional
from torch import Tensor, nn
from torch.nn import functional

MAGNITUDE_FLOOR = 1e-6
"""Added to the power before the square root, whose gradient is infinite at silence."""

MEL_FLOOR = 1e-5
"""Minimum of mel magnitudes. Its logarithm is about -11.5."""


class LogMelSpectrogram(nn.Module):
    """Natural logarithm of mel-band magnitudes, as in HiFi-GAN (Kong et al. 2020).

    The waveform is padded by reflection, so that mel frame ``t`` is centred on the samples
    ``t * hop_length ... (t + 1) * hop_length`` and there are ``samples // hop_length`` frames.
    The filters have Slaney's scale and norm and range from 0 Hz to half the sample rate.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, *, sample_rate_hz: int, n_fft: int, hop_length: int, num_mels: int) -> None:
        """Build the window and the filters. They are not part of the ``state_dict``.

        Args:
            sample_rate_hz: Sample rate of the waveforms.
            n_fft: Length of the FFT and of the periodic Hann window, in samples.
            hop_length: Samples per mel frame, at most ``n_fft``.
            num_mels: Number of mel bands.
        """
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        # On the CPU, because the filters cannot be computed on the "meta" device.
        with torch.device("cpu"):
            window = torch.hann_window(n_fft)
            filterbank = audio_functional.melscale_fbanks(
                n_freqs=n_fft // 2 + 1,
                f_min=0.0,
                f_max=float(sample_rate_hz // 2),
                n_mels=num_mels,
                sample_rate=sample_rate_hz,
                norm="slaney",
                mel_scale="slaney",
            )
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filterbank", filterbank.T.contiguous(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute the spectrogram; differentiable.

        Args:
            audio: Waveforms ``(batch, samples)`` of the same length, at least one hop and more than
                ``(n_fft - hop_length + 1) // 2`` samples.

        Returns:
            Log-mel magnitudes ``(batch, num_mels, samples // hop_length)``, at least ``log(1e-5)``.
        """
        return self._of_padded(functional.pad(audio, self._padding, mode="reflect"))

    def of_clips(self, audio: Tensor, num_samples: Tensor, *, num_mel_frames: int) -> Tensor:
        """Compute the spectrograms of clips of different lengths.

        Args:
            audio: Waveforms ``(batch, samples)``. What follows a clip's samples is ignored.
            num_samples: Samples of each clip ``(batch,)``, integers, at least as many as for
                ``forward``.
            num_mel_frames: Mel frames to compute, from the first.

        Returns:
            Log-mel magnitudes ``(batch, num_mels, num_mel_frames)``. The first
            ``num_samples // hop_length`` frames of a clip are those of ``forward``; the others
            have no meaning.
        """
        before, after = self._padding
        num_positions = before + num_mel_frames * self.hop_length + after
        position = torch.arange(num_positions, device=audio.device) - before
        last = num_samples.unsqueeze(1) - 1
        # Reflect the start of the waveform, then its end. Positions further on have no meaning.
        source = last - (last - position.abs()).abs()
        return self._of_padded(audio.gather(1, source.clamp(min=0)))

    @property
    def _padding(self) -> tuple[int, int]:
        padding = self.n_fft - self.hop_length
        return padding // 2, (padding + 1) // 2

    def _of_padded(self, padded: Tensor) -> Tensor:
        spectrum = torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + MAGNITUDE_FLOOR)
        return torch.log(torch.clamp(self.filterbank @ magnitude, min=MEL_FLOOR))
