"""Grouped finite scalar quantization, and the change of rate around it.

Knows nothing of waveforms: features at the mel frame rate in, codes out, and back.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fishdvc.codec.layers import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock


class Quantized(NamedTuple):
    """What quantization gives."""

    latents: Tensor
    """The latents that the codes stand for, ``(batch, channels, frames)``; gradients pass."""

    codes: Tensor
    """int64 ``(batch, num_codebooks, frames)``, 0 to below the codebook size."""


class FiniteScalarQuantizer(nn.Module):
    """Finite scalar quantization (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505).

    Coordinate ``k`` of a value takes one of ``levels[k]`` places; a code is the number whose
    digits (least significant first) are the places. As in the reference implementation the value
    is bounded twice before it is rounded (half to even): once as the start of a residual
    quantization that has a single step, once as that step.
    """

    levels: Tensor
    place_values: Tensor
    half_widths: Tensor
    half_ranges: Tensor
    offsets: Tensor
    shifts: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """Prepare constants; there are no weights.

        Args:
            levels: Number of places of each coordinate, each at least 2.
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
        """Squash ``(..., coordinates)`` so that rounding gives exactly ``levels`` integers."""
        return torch.tanh(values + self.shifts) * self.half_ranges - self.offsets

    def forward(self, values: Tensor) -> Tensor:
        """Move each value to its place; the gradient passes as if it had not been rounded.

        Args:
            values: ``(..., coordinates)``, unbounded.

        Returns:
            The same shape; multiples of ``1 / (levels // 2)`` from -1 up to 1 (below 1 where the
            number of levels is even).
        """
        bounded = self.bound(self.bound(values.float()))
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self.half_widths

    def values_to_codes(self, places: Tensor) -> Tensor:
        """Number the places ``(..., coordinates)`` that ``forward`` gave: int64 ``(...)``."""
        digits = (places * self.half_widths).round().long() + self.half_widths
        return (digits * self.place_values).sum(dim=-1)

    def codes_to_values(self, codes: Tensor) -> Tensor:
        """Give the places ``(..., coordinates)`` of codes ``(...)``, float32."""
        digits = codes.unsqueeze(-1) // self.place_values % self.levels
        return (digits - self.half_widths) / self.half_widths


class CodebookProjection(nn.Module):
    """The linear maps of one codebook; the attributes bear the checkpoint's names."""

    def __init__(self, channels: int, coordinates: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(channels, coordinates)
        self.project_out = nn.Linear(coordinates, channels)


class GroupedFiniteScalarQuantizer(nn.Module):
    """Quantize groups of channels side by side, each with a codebook of its own.

    Group ``g`` is the ``g``-th run of ``channels / num_codebooks`` channels; the groups are
    independent, not residuals of each other. ``rvqs`` bears the checkpoint's name.
    """

    def __init__(self, channels: int, *, num_codebooks: int, levels: Sequence[int]) -> None:
        """Build a projection for each of ``num_codebooks`` equal runs of ``channels``."""
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
        places = self.fsq(self._project("project_in", grouped.transpose(2, 3)))
        return Quantized(self._from_places(places), self.fsq.values_to_codes(places))

    def encode(self, latents: Tensor) -> Tensor:
        """Give only the codes of latents ``(batch, channels, frames)``."""
        quantized: Quantized = self(latents)
        return quantized.codes

    def decode(self, codes: Tensor) -> Tensor:
        """Give the latents ``(batch, channels, frames)`` that codes stand for."""
        return self._from_places(self.fsq.codes_to_values(codes))

    def _from_places(self, places: Tensor) -> Tensor:
        return self._project("project_out", places).transpose(2, 3).flatten(1, 2)

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Apply each codebook's linear map, all at once: ``(batch, num_codebooks, frames, c)``."""
        maps = [getattr(projection, name) for projection in self.rvqs]
        weight = torch.stack([m.weight for m in maps])
        bias = torch.stack([m.bias for m in maps])
        return x @ weight.transpose(1, 2) + bias.unsqueeze(1)


class DownsamplingQuantizer(nn.Module):
    """Lower the rate of features, quantize them, and raise the rate again.

    Attributes bear the checkpoint's names: ``downsample.i`` is the i-th downsampling, while
    ``upsample.0`` undoes the last one.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_codebooks: int,
        levels: Sequence[int],
        downsample_factors: Sequence[int],
        upsample: bool = True,
    ) -> None:
        """Build the layers.

        Args:
            channels: Channels of the features, at every rate.
            num_codebooks: Codes per frame; a divisor of ``channels``.
            levels: Number of places of each coordinate of a code.
            downsample_factors: Their product is the number of feature frames per frame of codes.
            upsample: Whether the way back is built; encoding does without.
        """
        super().__init__()
        self.residual_fsq = GroupedFiniteScalarQuantizer(
            channels, num_codebooks=num_codebooks, levels=levels
        )
        self.downsample = nn.Sequential(
            *(
                nn.Sequential(
                    CausalConv1d(channels, channels, factor, stride=factor),
                    ConvNeXtBlock(channels),
                )
                for factor in downsample_factors
            )
        )
        self.upsample = (
            nn.Sequential(
                *(
                    nn.Sequential(
                        CausalConvTranspose1d(channels, channels, factor, stride=factor),
                        ConvNeXtBlock(channels),
                    )
                    for factor in reversed(downsample_factors)
                )
            )
            if upsample
            else None
        )
