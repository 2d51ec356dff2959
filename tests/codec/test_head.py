import torch
from torch import Tensor, nn

from fishdvc.codec.codec import Codec
from fishdvc.codec.head import ParallelBranches


def test_branches_are_averaged() -> None:
    branches = ParallelBranches(2, (3, 5), ((1,), (1, 2)))
    for parameter in branches.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(branches.blocks[0].convs2[0].conv.bias)
    x = torch.randn(1, 2, 4)
    torch.testing.assert_close(branches(x), x + 0.5)


def test_samples_do_not_depend_on_later_features(codec: Codec) -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 64, 12)
    assert codec.head is not None
    whole: Tensor = codec.head(features)
    assert whole.shape == (1, 1, 12 * 512)
    torch.testing.assert_close(
        codec.head(features[..., :5]), whole[..., : 5 * 512], atol=1e-6, rtol=0
    )
