import torch
from torch import nn

from fishdvc.codec.head import ParallelBranches


def test_branches_are_averaged() -> None:
    branches = ParallelBranches(2, (3, 5), ((1,), (1, 2)))
    for parameter in branches.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(branches.blocks[0].convs2[0].conv.bias)
    x = torch.randn(1, 2, 4)
    torch.testing.assert_close(branches(x), x + 0.5)
