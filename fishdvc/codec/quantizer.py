"""Grouped finite scalar quantization, with downsampling before and upsampling after it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fishdvc.codec.config import QuantizerConfig
from fishdvc.codec.layers import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock


class Quantized(NamedTuple):
    """Quantized latents and their codes."""

    latents: Tensor
    """Float32 ``(batch, channels, frames)``, differentiable."""

    codes: Tensor
    """int64 ``(batch, num_codebooks, frames)``, from 0 to codebook size - 1."""


class FiniteScalarQuantizer(nn.Module):
    """Finite scalar quantization (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505).

    Coordinate ``k`` of a value is rounded (half to even) to one of ``levels[k]`` levels. A code is
    the number whose digits, least significant first, are the indices of the levels. Values are
    bounded twice before rounding: the reference implementation is a residual quantizer of one
    step, which bounds its input and then bounds it again in that step.
    """

    levels: Tensor
    place_values: Tensor
    half_widths: Tensor
    half_ranges: Tensor
    offsets: Tensor
    shifts: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """Compute constants; there are no weights.

        Args:
            levels: Number of levels of each coordinate, each at least 2.
        """
        super().__init__()
        place_values = [math.prod(levels[:k]) for k in range(len(levels))]
        half_ranges = [(level - 1) * (1 + 1e-3) / 2 for level in levels]
        offsets = [0.0 if level % 2 else 0.5 for level in levels]
        shifts = [math.atanh(o / h) for o, h in zip(offsets, half_ranges, strict=True)]
        self.codebook_size = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("place_values", torch.tensor(place_values), persistent=False)
        self.register_buffer("half_widths", torch.tensor(levels) // 2, persistent=False)
        self.register_buffer("half_ranges", torch.tensor(half_ranges), persistent=False)
        self.register_buffer("offsets", torch.tensor(offsets), persistent=False)
        self.register_buffer("shifts", torch.tensor(shifts), persistent=False)

    def bound(self, values: Tensor) -> Tensor:
        """Bound values ``(..., coordinates)`` so that rounding gives ``levels`` integers."""
        return torch.tanh(values + self.shifts) * self.half_ranges - self.offsets

    def forward(self, values: Tensor) -> Tensor:
        """Quantize values. The gradient ignores the rounding (straight-through estimator).

        Args:
            values: ``(..., coordinates)``, unbounded.

        Returns:
            The same shape, multiples of ``1 / (levels // 2)`` from -1 to 1. With an even number of
            levels, 1 is excluded.
        """
        bounded = self.bound(self.bound(values.float()))
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self.half_widths

    def values_to_codes(self, quantized: Tensor) -> Tensor:
        """Return the codes ``(...)``, int64, of quantized values ``(..., coordinates)``."""
        digits = (quantized * self.half_widths).round().long() + self.half_widths
        return (digits * self.place_values).sum(dim=-1)

    def codes_to_values(self, codes: Tensor) -> Tensor:
        """Return the quantized values ``(..., coordinates)``, float32, of codes ``(...)``."""
        digits = codes.unsqueeze(-1) // self.place_values % self.levels
        return (digits - self.half_widths) / self.half_widths


class CodebookProjection(nn.Module):
    """The linear layers of one codebook. Attributes have the checkpoint's names."""

    def __init__(self, channels: int, coordinates: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(channels, coordinates)
        self.project_out = nn.Linear(coordinates, channels)


class GroupedFiniteScalarQuantizer(nn.Module):
    """Finite scalar quantization of groups of channels, each with its own codebook.

    Group ``g`` is the ``g``-th run of ``channels / num_codebooks`` channels. The groups are
    independent: ``rvqs`` is the checkpoint's name, but there are no residuals.
    """

    def __init__(self, channels: int, *, num_codebooks: int, levels: Sequence[int]) -> None:
        """Build the linear layers of each codebook."""
        super().__init__()
        self.num_codebooks = num_codebooks
        self.fsq = FiniteScalarQuantizer(levels)
        self.rvqs = nn.ModuleList(
            CodebookProjection(channels // num_codebooks, len(levels)) for _ in range(num_codebooks)
        )

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents ``(batch, channels, frames)``."""
        batch, channels, frames = latents.shape
        grouped = latents.reshape(batch, self.num_codebooks, channels // self.num_codebooks, frames)
        values = self.fsq(self._project("project_in", grouped.transpose(2, 3)))
        return Quantized(self._to_latents(values), self.fsq.values_to_codes(values))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the quantized latents ``(batch, channels, frames)`` of codes."""
        return self._to_latents(self.fsq.codes_to_values(codes))

    def _to_latents(self, values: Tensor) -> Tensor:
        return self._project("project_out", values).transpose(2, 3).flatten(1, 2)

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Apply each codebook's linear layer to ``(batch, num_codebooks, frames, channels)``."""
        layers = [getattr(projection, name) for projection in self.rvqs]
        weight = torch.stack([layer.weight for layer in layers])
        bias = torch.stack([layer.bias for layer in layers])
        return x @ weight.transpose(1, 2) + bias.unsqueeze(1)


class DownsamplingQuantizer(nn.Module):
    """Downsample features, quantize them, and upsample them again.

    Attributes have the checkpoint's names. ``upsample`` is in the reverse order of ``downsample``.
    """

    def __init__(self, config: QuantizerConfig, *, upsample: bool = True) -> None:
        """Build the layers.

        Args:
            config: Sizes.
            upsample: Whether to build the upsampling, which only decoding needs.
        """
        super().__init__()
        channels, factors = config.input_dim, config.downsample_factor
        self.residual_fsq = GroupedFiniteScalarQuantizer(
            channels, num_codebooks=config.n_groups, levels=config.levels
        )
        self.downsample = nn.Sequential()
        for factor in factors:
            down = CausalConv1d(channels, channels, factor, stride=factor)
            self.downsample.append(nn.Sequential(down, ConvNeXtBlock(channels)))
        self.upsample = nn.Sequential() if upsample else None
        if self.upsample is not None:
            for factor in reversed(factors):
                up = CausalConvTranspose1d(channels, channels, factor, stride=factor)
                self.upsample.append(nn.Sequential(up, ConvNeXtBlock(channels)))
