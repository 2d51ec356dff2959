import pytest
import torch
from torch import Tensor

from fishdvc.codec.backbone import ConvNeXtEncoder
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import BackboneConfig


@pytest.mark.parametrize("clip", range(3))
def test_features_equal_the_reference(codec: Codec, golden: dict[str, Tensor], clip: int) -> None:
    features = codec.backbone(golden[f"mel.{clip}"][None])
    torch.testing.assert_close(features[0], golden[f"features.{clip}"], atol=1e-4, rtol=0)


def test_features_do_not_depend_on_later_mel_frames(
    codec: Codec, golden: dict[str, Tensor]
) -> None:
    mel = golden["mel.0"][None]
    torch.testing.assert_close(
        codec.backbone(mel[..., :20]), codec.backbone(mel)[..., :20], atol=1e-5, rtol=0
    )


def test_drop_path_rates_rise_from_zero_to_the_last_block() -> None:
    config = BackboneConfig(
        input_channels=4, depths=(1, 3, 1), dims=(4, 6, 8), drop_path_rate=0.2, kernel_size=7
    )
    encoder = ConvNeXtEncoder(config)
    rates = [block.drop_path_rate for stage in encoder.stages for block in stage]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
