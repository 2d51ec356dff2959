import pytest
import torch
from torch import nn

from fishdvc.codec.layers import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        (CausalConv1d(1, 1, 3), [1, 10, 100, 1000], [3, 32, 321, 3210]),
        # The last frame is padded with a zero on the right.
        (CausalConv1d(1, 1, 2, stride=2), [1, 10, 100], [21, 100]),
        # The last two samples are cut.
        (CausalConvTranspose1d(1, 1, 4, stride=2), [1, 10], [1, 2, 13, 24]),
    ],
)
def test_convolutions_of_hand_made_values(
    layer: CausalConv1d | CausalConvTranspose1d, x: list[float], expected: list[float]
) -> None:
    weight = torch.arange(1.0, layer.conv.kernel_size[0] + 1)
    layer.conv.load_state_dict({"weight": weight[None, None], "bias": torch.zeros(1)})
    torch.testing.assert_close(
        layer(torch.tensor([[x]]).float()), torch.tensor([[expected]]).float()
    )


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


@pytest.mark.parametrize(
    "layer",
    [
        CausalConv1d(4, 6, 7),
        CausalConv1d(4, 6, 5, dilation=3),
        CausalConv1d(4, 6, 2, stride=2),
        CausalConv1d(4, 6, 6, stride=3),
        CausalConvTranspose1d(4, 6, 2, stride=2),
        CausalConvTranspose1d(4, 6, 16, stride=8),
        CausalConvTranspose1d(4, 6, 5, stride=2),
        ConvNeXtBlock(4),
    ],
)
def test_other_devices_compute_the_same_as_a_cpu(
    layer: nn.Module, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 25)
    expected = layer(x)
    request.getfixturevalue("padded_batches")
    torch.testing.assert_close(layer(x), expected)


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
