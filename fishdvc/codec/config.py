"""The codec's sizes. Fields have the names of the keys in the JSON file."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from fishdvc.errors import CheckpointError
from fishdvc.validation import Checked, Items, parse

Size = Annotated[int, Field(ge=1)]


class SpectrogramConfig(Checked):
    """The mel spectrogram: the sample rate in Hz, lengths in samples."""

    sample_rate: Size
    n_mels: Size
    n_fft: Size
    hop_length: Size
    win_length: Size

    def inconsistencies(self) -> Iterator[str]:
        """Check the lengths against ``n_fft``."""
        if self.win_length != self.n_fft:
            yield f"win_length: must be n_fft ({self.n_fft}), got {self.win_length}"
        if self.hop_length > self.n_fft:
            yield f"hop_length: must be at most n_fft ({self.n_fft}), got {self.hop_length}"


class BackboneConfig(Checked):
    """The ConvNeXt encoder: stage ``i`` has ``depths[i]`` blocks of ``dims[i]`` channels."""

    input_channels: Size
    depths: Items[Size]
    dims: Items[Size]
    drop_path_rate: float = Field(ge=0, lt=1)
    kernel_size: Size

    def inconsistencies(self) -> Iterator[str]:
        """Check the number of stages."""
        if not self.dims or len(self.depths) != len(self.dims):
            yield f"depths, dims: must have one item per stage, got {self.depths} and {self.dims}"


class HeadConfig(Checked):
    """The HiFi-GAN decoder, from ``num_mels`` channels per mel frame to samples."""

    hop_length: Size
    upsample_rates: Items[Size]
    upsample_kernel_sizes: Items[Size]
    resblock_kernel_sizes: Items[Size]
    resblock_dilation_sizes: Items[Items[Size]]
    num_mels: Size
    upsample_initial_channel: Size
    pre_conv_kernel_size: Size
    post_conv_kernel_size: Size

    def inconsistencies(self) -> Iterator[str]:
        """Check the upsampling layers and the residual branches."""
        rates, kernels = self.upsample_rates, self.upsample_kernel_sizes
        if math.prod(rates) != self.hop_length:
            yield (
                f"upsample_rates: their product must be hop_length ({self.hop_length}), got {rates}"
            )
        if len(rates) != len(kernels) or any(k < r for r, k in zip(rates, kernels, strict=True)):
            yield (
                f"upsample_kernel_sizes: must be one per rate, none below its rate {rates}, "
                f"got {kernels}"
            )
        if self.upsample_initial_channel % 2 ** len(rates):
            yield (
                f"upsample_initial_channel: must be divisible by {2 ** len(rates)}, because each "
                f"of {len(rates)} upsamplings halves it, got {self.upsample_initial_channel}"
            )
        branches, dilations = self.resblock_kernel_sizes, self.resblock_dilation_sizes
        if not branches or len(branches) != len(dilations):
            yield (
                "resblock_kernel_sizes, resblock_dilation_sizes: must have one item per branch, "
                f"got {branches} and {dilations}"
            )


class QuantizerConfig(Checked):
    """Grouped finite scalar quantization after downsampling by each ``downsample_factor``."""

    input_dim: Size
    n_groups: Size
    n_codebooks: Literal[1]
    """Codebooks per group."""
    levels: Items[Annotated[int, Field(ge=2)]]
    downsample_factor: Items[Size]

    def inconsistencies(self) -> Iterator[str]:
        """Check that groups and levels can be built."""
        if self.input_dim % self.n_groups:
            yield f"n_groups: must divide input_dim ({self.input_dim}), got {self.n_groups}"
        if not self.levels:
            yield "levels: must have at least one item, got none"


class CodecConfig(Checked):
    """A whole codec."""

    spec_transform: SpectrogramConfig
    backbone: BackboneConfig
    head: HeadConfig
    quantizer: QuantizerConfig

    def inconsistencies(self) -> Iterator[str]:
        """Check that the output of each part fits the input of the next."""
        spectrogram, backbone = self.spec_transform, self.backbone
        head, quantizer = self.head, self.quantizer
        for key, got, other, expected in (
            ("backbone.input_channels", backbone.input_channels, "n_mels", spectrogram.n_mels),
            ("quantizer.input_dim", quantizer.input_dim, "the last of dims", backbone.dims[-1]),
            ("head.num_mels", head.num_mels, "quantizer.input_dim", quantizer.input_dim),
            ("head.hop_length", head.hop_length, "the spectrogram's", spectrogram.hop_length),
        ):
            if got != expected:
                yield f"{key}: must be {other} ({expected}), got {got}"

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second of the audio."""
        return self.spec_transform.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.spec_transform.hop_length

    @property
    def mel_frames_per_frame(self) -> int:
        """Mel frames per frame of codes."""
        return math.prod(self.quantizer.downsample_factor)

    @property
    def frame_length_samples(self) -> int:
        """Samples per frame of codes."""
        return self.hop_length * self.mel_frames_per_frame

    @property
    def num_codebooks(self) -> int:
        """Codes per frame."""
        return self.quantizer.n_groups

    @property
    def codebook_size(self) -> int:
        """Number of values of a code: ``0 ... codebook_size - 1``."""
        return math.prod(self.quantizer.levels)

    @classmethod
    def firefly(cls) -> Self:
        """Return the config of the published firefly-gan-vq-fsq-8x1024-21hz."""
        return cls(
            spec_transform=SpectrogramConfig(
                sample_rate=44100, n_mels=160, n_fft=2048, hop_length=512, win_length=2048
            ),
            backbone=BackboneConfig(
                input_channels=160,
                depths=(3, 3, 9, 3),
                dims=(128, 256, 384, 512),
                drop_path_rate=0.2,
                kernel_size=7,
            ),
            head=HeadConfig(
                hop_length=512,
                upsample_rates=(8, 8, 2, 2, 2),
                upsample_kernel_sizes=(16, 16, 4, 4, 4),
                resblock_kernel_sizes=(3, 7, 11),
                resblock_dilation_sizes=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
                num_mels=512,
                upsample_initial_channel=512,
                pre_conv_kernel_size=13,
                post_conv_kernel_size=13,
            ),
            quantizer=QuantizerConfig(
                input_dim=512,
                n_groups=8,
                n_codebooks=1,
                levels=(8, 5, 5, 5),
                downsample_factor=(2, 2),
            ),
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a config from a JSON file.

        Raises:
            CheckpointError: The file cannot be read, or its values are unknown, missing, of the
                wrong type, out of range or inconsistent. The message lists every problem.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: cannot read a codec config: {error}") from error
        return parse(values, cls, where=str(path), error=CheckpointError)
