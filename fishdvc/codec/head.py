"""The decoder: from features at the mel frame rate to a waveform."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from fishdvc.codec.config import HeadConfig
from fishdvc.codec.layers import CausalConv1d, CausalConvTranspose1d


class ResidualBranch(nn.Module):
    """Residual pairs of dilated convolutions, one pair for each dilation."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            CausalConv1d(channels, channels, kernel_size, dilation=d) for d in dilations
        )
        self.convs2 = nn.ModuleList(
            CausalConv1d(channels, channels, kernel_size, dilation=d) for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to the same shape."""
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(functional.silu(conv1(functional.silu(x))))
        return x


class ParallelBranches(nn.Module):
    """The mean of branches with different receptive fields ("multi-receptive field fusion")."""

    def __init__(
        self, channels: int, kernel_sizes: Sequence[int], dilations: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBranch(channels, kernel_size, branch_dilations)
            for kernel_size, branch_dilations in zip(kernel_sizes, dilations, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to the same shape."""
        return torch.stack([block(x) for block in self.blocks]).mean(dim=0)


class HiFiGANGenerator(nn.Module):
    """HiFi-GAN's generator (Kong et al. 2020, https://arxiv.org/abs/2010.05646), made causal.

    Each upsampling halves the channels. Attributes have the checkpoint's names.
    """

    def __init__(self, config: HeadConfig, *, weight_norm: bool = True) -> None:
        """Build the generator.

        Args:
            config: Sizes.
            weight_norm: Whether to parametrize each weight by direction and norm (Salimans and
                Kingma 2016), for training. Inference is faster without.
        """
        super().__init__()
        rates, kernel_sizes = config.upsample_rates, config.upsample_kernel_sizes
        widths = [config.upsample_initial_channel // 2**i for i in range(len(rates) + 1)]
        self.conv_pre = CausalConv1d(config.num_mels, widths[0], config.pre_conv_kernel_size)
        self.ups = nn.ModuleList(
            CausalConvTranspose1d(before, after, kernel_size, stride=rate)
            for (before, after), kernel_size, rate in zip(
                pairwise(widths), kernel_sizes, rates, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            ParallelBranches(width, config.resblock_kernel_sizes, config.resblock_dilation_sizes)
            for width in widths[1:]
        )
        self.conv_post = CausalConv1d(widths[-1], 1, config.post_conv_kernel_size)
        if weight_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                    parametrizations.weight_norm(module)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(batch, num_mels, mel_frames)`` to samples ``(batch, 1, samples)`` in -1..1.

        ``samples`` is ``mel_frames`` times the product of the upsampling rates.
        """
        x = self.conv_pre(features)
        for up, block in zip(self.ups, self.resblocks, strict=True):
            x = block(up(functional.silu(x)))
        return torch.tanh(self.conv_post(functional.silu(x)))
