import torch
from torch import Tensor, nn

from fishdvc.codec.checkpoint import merge_weight_norm
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
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


def test_merged_weight_norm_is_the_same_function(tiny_config: CodecConfig) -> None:
    torch.manual_seed(0)
    training = Codec(tiny_config)
    merged = Codec(tiny_config, weight_norm=False)
    merged.load_state_dict(merge_weight_norm(training.state_dict()), strict=True)
    features = torch.randn(2, 12, 3)
    assert training.head is not None
    assert merged.head is not None
    torch.testing.assert_close(merged.head(features), training.head(features))
