"""The codec: waveforms to codes and back, for batches of clips of any lengths."""

import torch
from torch import Tensor, nn

from fishdvc.audio.mel import LogMelSpectrogram
from fishdvc.codec.backbone import ConvNeXtEncoder
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.head import HiFiGANGenerator
from fishdvc.codec.quantizer import DownsamplingQuantizer
from fishdvc.errors import AudioError, CheckpointError, DatasetError, list_problems


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

    @property
    def min_num_samples(self) -> int:
        """Minimum length of a clip: one frame, and enough for the spectrogram's padding."""
        return max(self.config.frame_length_samples, self.log_mel.min_num_samples)

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """Return the number of frames of clips, without a partial frame at the end."""
        return num_samples // self.config.hop_length // self.config.mel_frames_per_frame

    @torch.inference_mode()
    def encode(self, audio: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips. Each gets the same codes as in any other batch.

        Clips are encoded one after another: on a CPU, a clip of one second uses all cores, so a
        padded batch would only be slower.

        Args:
            audio: Waveforms ``(batch, samples)`` at ``config.sample_rate_hz``, full scale at -1 and
                1. Padding is ignored.
            num_samples: Samples of each clip ``(batch,)``, integers.

        Returns:
            Codes, int64 ``(batch, num_codebooks, frames)``, padded with 0, and the number of frames
            of each clip, int64 ``(batch,)``: ``num_samples // hop_length // mel_frames_per_frame``.
            Both are on the codec's device.

        Raises:
            AudioError: The shapes do not match, a clip is shorter than ``min_num_samples``, or a
                sample is NaN or infinite. The message lists every such clip by its index.
        """
        num_samples = num_samples.to("cpu", torch.int64)
        self._check_audio(audio, num_samples)
        num_frames = self.num_frames(num_samples)
        codes = torch.zeros(
            (len(audio), self.config.num_codebooks, int(num_frames.max())),
            dtype=torch.int64,
            device=self.device,
        )
        clips = zip(audio, num_samples.tolist(), num_frames.tolist(), strict=True)
        for i, (samples, length, frames) in enumerate(clips):
            waveform = samples[None, :length].to(self.device, torch.float32)
            # The network is causal, so the mel frames of a partial frame are not needed.
            mel = self.log_mel(waveform)[..., : frames * self.config.mel_frames_per_frame]
            latents = self.quantizer.downsample(self.backbone(mel))
            codes[i, :, :frames] = self.quantizer.residual_fsq(latents).codes[0]
        return codes, num_frames.to(self.device)

    @torch.inference_mode()
    def decode(self, codes: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Decode codes. Each clip gets the same samples as in any other batch.

        Args:
            codes: Integers ``(batch, num_codebooks, frames)`` from 0 to
                ``config.codebook_size - 1``. Padding is ignored.
            num_frames: Frames of each clip ``(batch,)``, integers.

        Returns:
            Waveforms, float32 ``(batch, frames * frame_length_samples)`` in -1..1, padded with 0,
            and the number of samples of each clip, int64 ``(batch,)``:
            ``num_frames * frame_length_samples``. Both are on the codec's device.

        Raises:
            DatasetError: The shapes do not match, or a code is out of range. The message lists
                every such clip by its index.
            CheckpointError: The codec was built without a decoder.
        """
        if self.head is None or self.quantizer.upsample is None:
            raise CheckpointError("codec: built without a decoder; load it with decoder=True")
        num_frames = num_frames.to("cpu", torch.int64)
        self._check_codes(codes, num_frames)
        num_samples = num_frames * self.config.frame_length_samples
        audio = torch.zeros(
            (len(codes), codes.shape[-1] * self.config.frame_length_samples), device=self.device
        )
        for i, (frames, length) in enumerate(
            zip(num_frames.tolist(), num_samples.tolist(), strict=True)
        ):
            if frames > 0:
                clip = codes[i : i + 1, :, :frames].to(self.device, torch.int64)
                features = self.quantizer.upsample(self.quantizer.residual_fsq.decode(clip))
                audio[i, :length] = self.head(features)[0, 0]
        return audio, num_samples.to(self.device)

    def _check_audio(self, audio: Tensor, num_samples: Tensor) -> None:
        fits = audio.ndim == 2 and len(audio) > 0 and num_samples.shape == audio.shape[:1]
        if not (fits and audio.is_floating_point()):
            raise AudioError(
                "audio, num_samples: expected floating point (batch, samples) and (batch,) of at "
                f"least one clip, got {audio.dtype} {tuple(audio.shape)} and "
                f"{tuple(num_samples.shape)}"
            )
        problems = []
        for i, length in enumerate(num_samples.tolist()):
            if not self.min_num_samples <= length <= audio.shape[1]:
                problems.append(
                    f"item {i}: expected {self.min_num_samples} to {audio.shape[1]} samples "
                    f"at {self.config.sample_rate_hz} Hz, got {length}"
                )
            elif not audio[i, :length].isfinite().all():
                problems.append(f"item {i}: expected finite samples, got NaN or infinity")
        if problems:
            raise AudioError(
                list_problems("audio: cannot encode these clips; remove them", problems)
            )

    def _check_codes(self, codes: Tensor, num_frames: Tensor) -> None:
        shape = (len(codes), self.config.num_codebooks, codes.shape[-1])
        fits = codes.shape == shape and num_frames.shape == shape[:1]
        if not fits or codes.is_floating_point():
            raise DatasetError(
                f"codes, num_frames: expected integers (batch, {shape[1]}, frames) and (batch,), "
                f"got {codes.dtype} {tuple(codes.shape)} and {tuple(num_frames.shape)}"
            )
        problems = []
        for i, frames in enumerate(num_frames.tolist()):
            if not 0 <= frames <= codes.shape[-1]:
                problems.append(f"item {i}: expected 0 to {codes.shape[-1]} frames, got {frames}")
                continue
            wrong = codes[i, :, :frames]
            wrong = wrong[(wrong < 0) | (wrong >= self.config.codebook_size)]
            if len(wrong):
                problems.append(
                    f"item {i}: expected codes from 0 to {self.config.codebook_size - 1}, "
                    f"got {int(wrong[0])} ({len(wrong)} such codes)"
                )
        if problems:
            raise DatasetError(
                list_problems("codes: not codes of this codec; encode the clips again", problems)
            )
