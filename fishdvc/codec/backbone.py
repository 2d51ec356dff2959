"""The encoder: from a mel spectrogram to features at the same rate."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from fishdvc.codec.config import BackboneConfig
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

    def __init__(self, config: BackboneConfig) -> None:
        """Build the layers. The drop path rates of the blocks rise linearly from 0."""
        super().__init__()
        channels, kernel_size = config.dims, config.kernel_size
        stem = nn.Sequential(
            CausalConv1d(config.input_channels, channels[0], kernel_size), ChannelNorm(channels[0])
        )
        self.downsample_layers = nn.ModuleList([stem])
        for before, after in itertools.pairwise(channels):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(before), PointwiseConv(before, after))
            )
        # On the CPU, because tensors on the "meta" device have no values.
        num_blocks = sum(config.depths)
        rates = iter(torch.linspace(0, config.drop_path_rate, num_blocks, device="cpu").tolist())
        self.stages = nn.ModuleList()
        for depth, width in zip(config.depths, channels, strict=True):
            stage_rates = itertools.islice(rates, depth)
            blocks = (ConvNeXtBlock(width, kernel_size, drop_path_rate=r) for r in stage_rates)
            self.stages.append(nn.Sequential(*blocks))
        self.norm = ChannelNorm(channels[-1])

    def forward(self, mel: Tensor) -> Tensor:
        """Encode log-mel frames.

        Args:
            mel: ``(batch, input_channels, mel_frames)``.

        Returns:
            Features ``(batch, dims[-1], mel_frames)``. Frame ``t`` depends only on frames up
            to ``t``.
        """
        x = mel
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        features: Tensor = self.norm(x)
        return features
