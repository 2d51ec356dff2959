"""The encoder: from a mel spectrogram to features at the same rate."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fishdvc.codec.layers import CausalConv1d, ConvNeXtBlock


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of ``(batch, channels, frames)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each frame."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class PointwiseConv(nn.Conv1d):
    """A convolution of kernel size 1, computed as a linear layer."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_channels, frames)`` to ``(batch, out_channels, frames)``."""
        y = functional.linear(x.transpose(1, 2), self.weight.squeeze(-1), self.bias)
        return y.transpose(1, 2)


class ConvNeXtEncoder(nn.Module):
    """ConvNeXt (Liu et al. 2022, https://arxiv.org/abs/2201.03545) over mel frames.

    A causal stem, then stages of blocks with a change of width between them. All attributes have
    the checkpoint's names; despite its name, ``downsample_layers`` does not change the rate.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        depths: Sequence[int],
        channels: Sequence[int],
        kernel_size: int = 7,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Build ``depths[i]`` blocks of ``channels[i]`` channels for each stage ``i``.

        Args:
            in_channels: Number of mel bands.
            depths: Number of blocks of each stage.
            channels: Width of each stage.
            kernel_size: Kernel size of the stem and of each block.
            drop_path_rate: Rate of the last block in training. The rates rise linearly from 0.
        """
        super().__init__()
        stem = nn.Sequential(
            CausalConv1d(in_channels, channels[0], kernel_size), ChannelNorm(channels[0])
        )
        self.downsample_layers = nn.ModuleList([stem])
        for before, after in pairwise(channels):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(before), PointwiseConv(before, after))
            )
        # On the CPU, because tensors on the "meta" device have no values.
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(width, kernel_size, drop_path_rate=next(rates))
                    for _ in range(depth)
                )
            )
            for depth, width in zip(depths, channels, strict=True)
        )
        self.norm = ChannelNorm(channels[-1])

    def forward(self, mel: Tensor) -> Tensor:
        """Encode log-mel frames.

        Args:
            mel: ``(batch, in_channels, mel_frames)``.

        Returns:
            Features ``(batch, channels[-1], mel_frames)``. Frame ``t`` depends only on frames up
            to ``t``.
        """
        x = mel
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        features: Tensor = self.norm(x)
        return features
