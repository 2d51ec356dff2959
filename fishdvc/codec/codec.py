"""The codec: waveforms to codes and back, for batches of clips of any lengths."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fishdvc.audio.mel import LogMelSpectrogram
from fishdvc.codec.backbone import ConvNeXtEncoder
from fishdvc.codec.batches import Batch, plan_batches
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.head import HiFiGANGenerator
from fishdvc.codec.quantizer import DownsamplingQuantizer
from fishdvc.errors import AudioError, CheckpointError, DatasetError

ENCODE_MAX_FRAMES = 2048
"""Frames of a batch to encode: 95 s and 0.3 GB in the published codec. With larger
batches, fewer threads would read clips at once."""

DECODE_MAX_FRAMES = 512
"""Frames of a batch to decode: 24 s and 1.5 GB in the published codec."""


class Codec(nn.Module):
    """firefly-GAN-VQ-FSQ, the codec of fish-speech 1.4 and 1.5 (https://arxiv.org/abs/2411.01156).

    ``encode`` calls ``log_mel``, ``backbone`` (features), ``quantizer.downsample`` (latents) and
    ``quantizer.residual_fsq`` (codes). ``decode`` calls ``quantizer.residual_fsq.decode``,
    ``quantizer.upsample`` and ``head``. These parts are differentiable, for training; ``encode``
    and ``decode`` are for inference. All parts compute in float32 and, except for ``log_mel``, are
    causal. ``backbone``, ``quantizer`` and ``head`` have the checkpoint's names.
    """

    def __init__(
        self, config: CodecConfig, *, decoder: bool = True, weight_norm: bool = True
    ) -> None:
        """Build a codec with random weights.

        Args:
            config: The codec's sizes.
            decoder: Whether to build the layers that only decoding needs.
            weight_norm: Whether to parametrize the decoder's weights for training, see
                ``HiFiGANGenerator``.
        """
        super().__init__()
        self.config = config
        spectrogram = config.spec_transform
        self.log_mel = LogMelSpectrogram(
            sample_rate_hz=spectrogram.sample_rate,
            n_fft=spectrogram.n_fft,
            hop_length=spectrogram.hop_length,
            num_mels=spectrogram.n_mels,
        )
        self.backbone = ConvNeXtEncoder(config.backbone)
        self.quantizer = DownsamplingQuantizer(config.quantizer, upsample=decoder)
        self.head = HiFiGANGenerator(config.head, weight_norm=weight_norm) if decoder else None

    @property
    def device(self) -> torch.device:
        """Device of the codec."""
        return self.quantizer.residual_fsq.fsq.levels.device

    def plan_encoding(self, num_samples: Sequence[int]) -> list[Batch]:
        """Plan which clips to encode together, given their lengths in samples.

        ``encode`` plans its own clips. A caller that has more clips than fit into memory calls
        ``encode`` once for each of these batches. See ``plan_batches``.
        """
        num_frames = [samples // self.config.frame_length_samples for samples in num_samples]
        return plan_batches(num_frames, self.device, max_frames=ENCODE_MAX_FRAMES)

    @torch.inference_mode()
    def encode(self, audio: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips. Each gets the codes that it gets alone.

        On a CPU, a clip is computed alone, so its codes are exactly the same in any batch. On other
        devices, clips of similar length are computed together, and sums are added up in another
        order. A code may then differ by one level in a coordinate that lies within rounding errors
        of the threshold between two levels. The same holds between devices.

        Args:
            audio: Waveforms ``(batch, samples)`` at ``config.sample_rate_hz``, full scale at -1 and
                1, on any device. Padding is ignored.
            num_samples: Samples of each clip ``(batch,)``, integers.

        Returns:
            Codes, int64 ``(batch, num_codebooks, frames)``, padded with 0, and the number of frames
            of each clip, int64 ``(batch,)``: ``num_samples // config.frame_length_samples``. Both
            are on the codec's device.

        Raises:
            AudioError: The shapes do not match, or a clip is shorter than
                ``config.min_num_samples``.
        """
        num_samples = num_samples.to("cpu", torch.int64)
        self._check_audio(audio, num_samples)
        num_frames = num_samples // self.config.frame_length_samples
        max_frames = int(num_frames.max())
        codes = torch.zeros(
            (len(audio), self.config.num_codebooks, max_frames),
            dtype=torch.int64,
            device=self.device,
        )
        for clips, padded_frames in self.plan_encoding(num_samples.tolist()):
            lengths = num_samples[clips]
            # The network is causal, so neither padding nor a partial frame changes earlier frames.
            mel = self.log_mel.of_clips(
                audio[clips, : int(lengths.max())].to(self.device, torch.float32),
                lengths.to(self.device),
                num_mel_frames=padded_frames * self.config.mel_frames_per_frame,
            )
            latents = self.quantizer.downsample(self.backbone(mel))
            frames = min(padded_frames, max_frames)
            codes[clips, :, :frames] = self.quantizer.residual_fsq(latents).codes[..., :frames]
        num_frames = num_frames.to(self.device)
        is_padding = torch.arange(max_frames, device=self.device) >= num_frames[:, None, None]
        return codes.masked_fill(is_padding, 0), num_frames

    @torch.inference_mode()
    def decode(self, codes: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Decode codes. Each clip gets the samples that it gets alone, as in ``encode``.

        Args:
            codes: Integers ``(batch, num_codebooks, frames)`` from 0 to
                ``config.codebook_size - 1``. Padding is ignored.
            num_frames: Frames of each clip ``(batch,)``, integers.

        Returns:
            Waveforms, float32 ``(batch, frames * frame_length_samples)`` in -1..1, padded with 0,
            and the number of samples of each clip, int64 ``(batch,)``:
            ``num_frames * frame_length_samples``. Both are on the codec's device.

        Raises:
            DatasetError: The shapes do not match, or a code is out of range.
            CheckpointError: The codec was built without a decoder.
        """
        if self.head is None or self.quantizer.upsample is None:
            raise CheckpointError("codec: built without a decoder; load it with decoder=True")
        num_frames = num_frames.to("cpu", torch.int64)
        self._check_codes(codes, num_frames)
        num_samples = num_frames * self.config.frame_length_samples
        max_samples = codes.shape[-1] * self.config.frame_length_samples
        audio = torch.zeros((len(codes), max_samples), device=self.device)
        batches = plan_batches(num_frames.tolist(), self.device, max_frames=DECODE_MAX_FRAMES)
        for clips, padded_frames in batches:
            batch = codes[clips, :, :padded_frames].to(self.device, torch.int64)
            padded = functional.pad(batch, (0, padded_frames - batch.shape[-1]))
            features = self.quantizer.upsample(self.quantizer.residual_fsq.decode(padded))
            samples = self.head(features)[:, 0, :max_samples]
            audio[clips, : samples.shape[1]] = samples
        num_samples = num_samples.to(self.device)
        is_padding = torch.arange(max_samples, device=self.device) >= num_samples[:, None]
        return audio.masked_fill(is_padding, 0), num_samples

    def _check_audio(self, audio: Tensor, num_samples: Tensor) -> None:
        fits = audio.ndim == 2 and len(audio) > 0 and num_samples.shape == audio.shape[:1]
        if not (fits and audio.is_floating_point()):
            raise AudioError(
                "audio, num_samples: expected floating point (batch, samples) and (batch,) of at "
                f"least one clip, got {audio.dtype} {tuple(audio.shape)} and "
                f"{tuple(num_samples.shape)}"
            )
        least, most = self.config.min_num_samples, audio.shape[1]
        if num_samples.min() < least or num_samples.max() > most:
            raise AudioError(
                f"audio: expected clips of {least} to {most} samples at "
                f"{self.config.sample_rate_hz} Hz, got {num_samples.tolist()}; remove short clips"
            )

    def _check_codes(self, codes: Tensor, num_frames: Tensor) -> None:
        shape = (len(codes), self.config.num_codebooks, codes.shape[-1])
        fits = codes.shape == shape and num_frames.shape == shape[:1]
        if not fits or codes.is_floating_point() or num_frames.max() > shape[2]:
            raise DatasetError(
                f"codes, num_frames: expected integers (batch, {shape[1]}, frames) and (batch,), "
                f"got {codes.dtype} {tuple(codes.shape)} and {num_frames.tolist()}"
            )
        is_padding = torch.arange(shape[2]) >= num_frames[:, None, None]
        codes = codes.cpu().masked_fill(is_padding, 0)
        last = self.config.codebook_size - 1
        if codes.numel() and not 0 <= codes.min() <= codes.max() <= last:
            raise DatasetError(
                f"codes: expected 0 to {last}, got {codes.min()} to {codes.max()}; encode the "
                "clips again with this codec"
            )
