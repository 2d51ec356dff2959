import pytest
import torch
from torch import nn

from fishdvc.codec.layers import (
    CausalConv1d,
    CausalConvTranspose1d,
    CausalDepthwiseConv,
    ConvNeXtBlock,
)


def test_a_causal_convolution_sums_the_past() -> None:
    conv = CausalConv1d(1, 1, 3)
    nn.init.ones_(conv.conv.weight)
    nn.init.zeros_(conv.conv.bias)
    x = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    torch.testing.assert_close(conv(x), torch.tensor([[[1.0, 11.0, 111.0, 1110.0]]]))


def test_a_strided_convolution_pads_its_last_frame_with_zeros() -> None:
    conv = CausalConv1d(1, 1, 2, stride=2)
    nn.init.ones_(conv.conv.weight)
    nn.init.zeros_(conv.conv.bias)
    x = torch.tensor([[[1.0, 10.0, 100.0]]])
    torch.testing.assert_close(conv(x), torch.tensor([[[11.0, 100.0]]]))


def test_a_transposed_convolution_is_cut_on_the_right() -> None:
    conv = CausalConvTranspose1d(1, 1, 4, stride=2)
    with torch.no_grad():
        conv.conv.weight.copy_(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
        nn.init.zeros_(conv.conv.bias)
    x = torch.tensor([[[1.0, 10.0]]])
    torch.testing.assert_close(conv(x), torch.tensor([[[1.0, 2.0, 13.0, 24.0]]]))


def test_the_depthwise_convolution_equals_a_grouped_one() -> None:
    torch.manual_seed(0)
    depthwise = CausalDepthwiseConv(5, 7)
    causal = CausalConv1d(5, 5, 7)
    causal.conv = depthwise.conv
    x = torch.randn(2, 5, 11)
    torch.testing.assert_close(depthwise(x.transpose(1, 2)).transpose(1, 2), causal(x))


@pytest.mark.parametrize(
    ("layer", "rate"),
    [
        (CausalConv1d(4, 4, 5, dilation=3), 1.0),
        (CausalConv1d(4, 4, 6, stride=3), 1 / 3),
        (CausalConvTranspose1d(4, 4, 8, stride=2), 2.0),
        (ConvNeXtBlock(4), 1.0),
    ],
)
def test_the_past_does_not_depend_on_the_future(layer: nn.Module, rate: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 24)
    prefix = layer(x[..., :12])
    assert prefix.shape[-1] == 12 * rate
    torch.testing.assert_close(layer(x)[..., : prefix.shape[-1]], prefix)


def test_dropped_branches_leave_the_residual_and_the_mean_unchanged() -> None:
    torch.manual_seed(0)
    block = ConvNeXtBlock(4, drop_path_rate=0.5)
    nn.init.ones_(block.gamma)
    x = torch.randn(1, 4, 6).expand(400, 4, 6)
    branch = block.eval()(x) - x
    dropped = block.train()(x) - x
    kept = dropped.abs().amax(dim=(1, 2)) > 0
    assert 150 < int(kept.sum()) < 250
    torch.testing.assert_close(dropped[kept], 2 * branch[kept])
