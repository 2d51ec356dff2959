"""The codec's sizes. Fields have the names of the keys in the JSON file."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from fishdvc.validation import Checked, Items, parse_json

FIREFLY = Path(__file__).with_name("firefly-gan-vq-fsq-8x1024-21hz.json")
"""Config of the published codec of fish-speech 1.4 and 1.5."""
Size = Annotated[int, Field(ge=1, le=2**14)]
NumBlocks = Annotated[int, Field(ge=1, le=100)]
MAX_CODEBOOK_SIZE = 2**24
MAX_BACKBONE_WEIGHTS = 10**9
"""Limits on what a file may state, so that a damaged one does not fill the memory."""


def codec_config_path(checkpoint: Path) -> Path:
    """Return the config beside a codec's weights, ``<name>.json``. Without one, ``FIREFLY``."""
    config = checkpoint.with_suffix(".json")
    return config if config.is_file() else FIREFLY


class SpectrogramConfig(Checked):
    """The mel spectrogram: the sample rate in Hz, lengths in samples."""

    sample_rate: Annotated[int, Field(ge=1, le=10**6)]
    n_mels: Size
    n_fft: Size
    hop_length: Size
    win_length: Size

    @property
    def min_num_samples(self) -> int:
        """Minimum length of a waveform. Reflection needs one sample more than it pads."""
        return max(self.hop_length, (self.n_fft - self.hop_length + 1) // 2 + 1)

    def inconsistencies(self) -> Iterator[str]:
        """Check the lengths against ``n_fft``."""
        if self.win_length != self.n_fft:
            yield f"win_length: must be n_fft ({self.n_fft}), got {self.win_length}"
        if self.hop_length > self.n_fft:
            yield f"hop_length: must be at most n_fft ({self.n_fft}), got {self.hop_length}"


class BackboneConfig(Checked):
    """The ConvNeXt encoder: stage ``i`` has ``depths[i]`` blocks of ``dims[i]`` channels."""

    input_channels: Size
    depths: Items[NumBlocks]
    dims: Items[Size]
    drop_path_rate: float = Field(ge=0, lt=1)
    kernel_size: Size

    def inconsistencies(self) -> Iterator[str]:
        """Check the number of stages."""
        if not self.dims or len(self.depths) != len(self.dims):
            yield f"depths, dims: must have one item per stage, got {self.depths} and {self.dims}"
        # Each block has two linear layers, to and from four times its width.
        num_weights = sum(
            8 * depth * dim**2 for depth, dim in zip(self.depths, self.dims, strict=False)
        )
        if num_weights > MAX_BACKBONE_WEIGHTS:
            yield f"depths, dims: must give at most 10^9 weights, got {num_weights:.1g}"


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
            divisor = f"2 ** {len(rates)}, because each upsampling halves it"
            got = self.upsample_initial_channel
            yield f"upsample_initial_channel: must be divisible by {divisor}, got {got}"
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
        if math.prod(self.levels) > MAX_CODEBOOK_SIZE:
            yield f"levels: their product must be at most {MAX_CODEBOOK_SIZE}, got {self.levels}"


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
    def frame_rate_hz(self) -> float:
        """Frames of codes per second."""
        return self.sample_rate_hz / self.frame_length_samples

    @property
    def min_num_samples(self) -> int:
        """Minimum length of a clip: one frame, and enough for the spectrogram's padding."""
        return max(self.frame_length_samples, self.spec_transform.min_num_samples)

    @property
    def num_codebooks(self) -> int:
        """Codes per frame."""
        return self.quantizer.n_groups

    @property
    def codebook_size(self) -> int:
        """Number of values of a code: ``0 ... codebook_size - 1``."""
        return math.prod(self.quantizer.levels)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a config from a JSON file.

        Raises:
            CheckpointError: The file cannot be read, or its values are unknown, missing, of the
                wrong type, out of range or inconsistent. The message lists every problem.
        """
        return parse_json(path, cls)
