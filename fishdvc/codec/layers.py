"""Causal convolutions and the ConvNeXt block of encoder, quantizer and decoder.

An output frame depends only on the input frames that it covers and earlier ones. The attribute
``conv`` and those of ``ConvNeXtBlock`` have the checkpoint's names.

On a CPU, PyTorch's convolutions are fastest. On other devices, matrix products and PyTorch's own
depthwise kernel compute them, because cuDNN builds a plan for each convolution and each new shape,
which takes longer than the convolution itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def on_cpu(device: torch.device) -> bool:
    """Return whether a device is the CPU."""
    return device.type == "cpu"


class CausalConv1d(nn.Module):
    """A convolution padded with zeros on the left.

    It is also padded on the right to a multiple of the stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation
        )
        self.stride = stride
        self.left_padding = (kernel_size - 1) * dilation + 1 - stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_channels, frames)`` to ``ceil(frames / stride)`` frames."""
        right_padding = -x.shape[-1] % self.stride
        padded = functional.pad(x, (self.left_padding, right_padding))
        if on_cpu(x.device):
            y: Tensor = self.conv(padded)
            return y
        dilation, weight = self.conv.dilation[0], self.conv.weight
        span = (weight.shape[2] - 1) * dilation + 1
        windows = padded.unfold(-1, span, self.stride)[..., ::dilation]
        # To (batch, in_channels * kernel_size, frames).
        columns = windows.transpose(2, 3).flatten(1, 2)
        return weight.flatten(1) @ columns + _as_column(self.conv.bias)


class CausalConvTranspose1d(nn.Module):
    """A transposed convolution, cut on the right to ``frames * stride``."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int
    ) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(in_channels, out_channels, kernel_size, stride=stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_channels, frames)`` to ``(batch, out_channels, frames * stride)``."""
        length = x.shape[-1] * self.stride
        if on_cpu(x.device):
            y: Tensor = self.conv(x)
            return y[..., :length]
        weight = self.conv.weight
        kernel_size = weight.shape[2]
        # To (batch, out_channels * kernel_size, frames).
        columns = weight.flatten(1).T @ x
        full_length = length - self.stride + kernel_size
        y = functional.fold(columns, (1, full_length), (1, kernel_size), stride=(1, self.stride))
        return y[:, :, 0, :length] + _as_column(self.conv.bias)


class CausalDepthwiseConv(nn.Module):
    """A causal convolution of each channel separately."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size, groups=channels)
        self.left_padding = kernel_size - 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, frames, channels)`` to the same shape."""
        if not on_cpu(x.device):
            padded = functional.pad(x.transpose(1, 2), (self.left_padding, 0))
            # In float32, PyTorch uses cuDNN for this convolution if the input is not contiguous.
            y: Tensor = self.conv(padded.contiguous())
            return y.transpose(1, 2)
        padded = functional.pad(x, (0, 0, self.left_padding, 0))
        # As an image of height 1 with channels last in memory, because the linear layers before and
        # after need this layout and it has the fastest depthwise kernel on CPUs.
        image = padded.transpose(1, 2).unsqueeze(2)
        weight = self.conv.weight.unsqueeze(2)
        y = functional.conv2d(image, weight, self.conv.bias, groups=self.conv.groups)
        return y.squeeze(2).transpose(1, 2)


def _as_column(bias: Tensor | None) -> Tensor:
    """Return a bias as ``(channels, 1)``. All convolutions here have a bias."""
    assert bias is not None
    return bias.unsqueeze(1)


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block (Liu et al. 2022, https://arxiv.org/abs/2201.03545) in one causal dimension.

    Depthwise convolution, LayerNorm, a linear layer to four times the width, exact GELU, a linear
    layer back, a learned scale per channel, and the residual. In training, the branch is dropped
    for a fraction ``drop_path_rate`` of the examples (Huang et al. 2016) and scaled up for others.
    """

    def __init__(self, channels: int, kernel_size: int = 7, *, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.dwconv = CausalDepthwiseConv(channels, kernel_size)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, frames)`` to the same shape."""
        x = x.transpose(1, 2)
        branch = self.pwconv1(self.norm(self.dwconv(x)))
        branch = self.pwconv2(functional.gelu(branch))
        if self.training and self.drop_path_rate > 0:
            kept = 1 - self.drop_path_rate
            branch = branch * (x.new_empty(x.shape[0], 1, 1).bernoulli_(kept) / kept)
        return torch.addcmul(x, self.gamma, branch).transpose(1, 2)
