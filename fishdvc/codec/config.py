"""The numbers that describe a codec, read from JSON and checked.

Fields bear the names of the file's keys. Knows nothing of tensors or weights.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from fishdvc.errors import CheckpointError, list_problems


@dataclass(frozen=True, kw_only=True)
class SpectrogramConfig:
    """How the mel spectrogram is made; lengths in samples, the rate in Hz."""

    sample_rate: int
    n_mels: int
    n_fft: int
    hop_length: int
    win_length: int

    def problems(self) -> list[str]:
        """Say which values do not go together."""
        problems = []
        if self.win_length != self.n_fft:
            problems.append(f"win_length: n_fft ({self.n_fft}) needed, got {self.win_length}")
        if self.hop_length > self.win_length:
            problems.append(
                f"hop_length: at most win_length ({self.win_length}) needed, got {self.hop_length}"
            )
        return problems


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The ConvNeXt encoder: one stage of ``depths[i]`` blocks of ``dims[i]`` channels each."""

    input_channels: int
    depths: tuple[int, ...]
    dims: tuple[int, ...]
    drop_path_rate: float
    kernel_size: int

    def problems(self) -> list[str]:
        """Say which values do not go together."""
        problems = []
        if not self.dims or len(self.depths) != len(self.dims):
            problems.append(
                f"depths, dims: one of each per stage needed, got {self.depths} and {self.dims}"
            )
        if not 0 <= self.drop_path_rate < 1:
            problems.append(f"drop_path_rate: 0 <= rate < 1 needed, got {self.drop_path_rate}")
        return problems


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The HiFi-GAN decoder: from ``num_mels`` channels per mel frame to samples."""

    hop_length: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    num_mels: int
    upsample_initial_channel: int
    pre_conv_kernel_size: int
    post_conv_kernel_size: int

    def problems(self) -> list[str]:
        """Say which values do not go together."""
        problems = []
        if math.prod(self.upsample_rates) != self.hop_length:
            problems.append(
                f"upsample_rates: a product of hop_length ({self.hop_length}) needed, "
                f"got {self.upsample_rates}"
            )
        rates, kernels = self.upsample_rates, self.upsample_kernel_sizes
        if len(rates) != len(kernels) or any(k < r for r, k in zip(rates, kernels, strict=True)):
            problems.append(
                f"upsample_kernel_sizes: one per rate {rates} and not below it needed, "
                f"got {kernels}"
            )
        branches = len(self.resblock_kernel_sizes)
        if branches == 0 or branches != len(self.resblock_dilation_sizes):
            problems.append(
                "resblock_kernel_sizes, resblock_dilation_sizes: one of each per branch needed, "
                f"got {self.resblock_kernel_sizes} and {self.resblock_dilation_sizes}"
            )
        if self.upsample_initial_channel % 2 ** len(rates):
            problems.append(
                f"upsample_initial_channel: divisible by {2 ** len(rates)} needed (halved at each "
                f"of {len(rates)} upsamplings), got {self.upsample_initial_channel}"
            )
        return problems


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """Grouped finite scalar quantization after ``downsample_factor[i]``-fold downsamplings."""

    input_dim: int
    n_groups: int
    n_codebooks: int
    levels: tuple[int, ...]
    downsample_factor: tuple[int, ...]

    def problems(self) -> list[str]:
        """Say which values do not go together."""
        problems = []
        if self.input_dim % self.n_groups:
            problems.append(
                f"n_groups: a divisor of input_dim ({self.input_dim}) needed, got {self.n_groups}"
            )
        if self.n_codebooks != 1:
            problems.append(f"n_codebooks: 1 per group is supported, got {self.n_codebooks}")
        if not self.levels or min(self.levels) < 2:
            problems.append(f"levels: each at least 2 needed, got {self.levels}")
        return problems


SECTIONS = (SpectrogramConfig, BackboneConfig, HeadConfig, QuantizerConfig)


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """A whole codec; ``CodecConfig.firefly()`` is the published one.

    Raises:
        CheckpointError: Values do not go together; the message lists every problem.
    """

    spec_transform: SpectrogramConfig
    backbone: BackboneConfig
    head: HeadConfig
    quantizer: QuantizerConfig

    def __post_init__(self) -> None:
        problems = [
            f"{name}.{problem}" for name, part in vars(self).items() for problem in part.problems()
        ]
        _refuse("codec config", problems or self._disagreements())

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
        """Different values of a code: ``0 ... codebook_size - 1``."""
        return math.prod(self.quantizer.levels)

    @classmethod
    def firefly(cls) -> Self:
        """Describe the published firefly-gan-vq-fsq-8x1024-21hz."""
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
            CheckpointError: The file is missing, is not JSON, or its values have unknown or
                missing keys, wrong types or wrong ranges; every problem is listed.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: a codec config in JSON needed, got {error}") from error
        return cls.from_dict(values, where=str(path))

    @classmethod
    def from_dict(cls, values: object, *, where: str = "codec config") -> Self:
        """Build a config from parsed JSON; ``where`` names its origin in errors.

        Raises:
            CheckpointError: As for ``read``.
        """
        problems: list[str] = []
        try:
            config = _parse_section(cls, values, "", problems)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        _refuse(where, problems)
        assert isinstance(config, cls)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; as JSON they are read back as an equal config."""
        return asdict(self)

    def _disagreements(self) -> list[str]:
        agreements = {
            "backbone.input_channels must be spec_transform.n_mels": (
                self.backbone.input_channels,
                self.spec_transform.n_mels,
            ),
            "quantizer.input_dim must be the last of backbone.dims": (
                self.quantizer.input_dim,
                self.backbone.dims[-1],
            ),
            "head.num_mels must be quantizer.input_dim": (
                self.head.num_mels,
                self.quantizer.input_dim,
            ),
            "head.hop_length must be spec_transform.hop_length": (
                self.head.hop_length,
                self.spec_transform.hop_length,
            ),
        }
        return [
            f"{rule}: {needed} needed, got {value}"
            for rule, (value, needed) in agreements.items()
            if value != needed
        ]


def _refuse(where: str, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(list_problems(f"{where}: not a usable codec; mend", problems))


def _parse(kind: Any, value: object, where: str, problems: list[str]) -> object:
    """Turn a JSON value into ``kind``; add what cannot be to ``problems``."""
    if kind is int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        needed = "a whole number of at least 1"
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        needed = "a number"
    elif get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            item = get_args(kind)[0]
            return tuple(_parse(item, v, f"{where}[{i}]", problems) for i, v in enumerate(value))
        needed = "a list"
    else:
        return _parse_section(kind, value, where, problems)
    problems.append(f"{where}: {needed} needed, got {value!r}")
    return None


def _parse_section(kind: Any, values: object, where: str, problems: list[str]) -> object:
    if not isinstance(values, dict):
        problems.append(f"{where or 'the whole file'}: an object needed, got {values!r}")
        return None
    prefix = f"{where}." if where else ""
    fields = get_type_hints(kind)
    found = [f"{prefix}{key}: unknown key; remove it" for key in values if key not in fields]
    found += [f"{prefix}{key}: missing; add it" for key in fields if key not in values]
    parts = {
        key: _parse(field, values[key], prefix + key, found)
        for key, field in fields.items()
        if key in values
    }
    section = None if found else kind(**parts)
    if isinstance(section, SECTIONS):
        found += [prefix + problem for problem in section.problems()]
    problems += found
    return section
