import math

import pytest
import torch
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import QuantizerConfig
from fishdvc.codec.quantizer import (
    DownsamplingQuantizer,
    FiniteScalarQuantizer,
    GroupedFiniteScalarQuantizer,
)

LEVELS = (8, 5, 5, 5)
THRESHOLDS = (
    (-0.41349, -0.22738, -0.12579, -0.04164, 0.04397, 0.15147, 0.36232),
    (-0.52968, -0.12814, 0.12814, 0.52968),
)


@pytest.fixture(scope="module")
def fsq() -> FiniteScalarQuantizer:
    return FiniteScalarQuantizer(LEVELS)


def test_codes_and_latents_equal_the_reference(codec: Codec, golden: dict[str, Tensor]) -> None:
    quantized = codec.quantizer.residual_fsq(golden["fsq.input"].transpose(1, 2))
    assert torch.equal(quantized.codes[0], golden["fsq.codes"][:, 0, :, 0].long())
    torch.testing.assert_close(
        quantized.latents.transpose(1, 2), golden["fsq.output"], atol=1e-6, rtol=0
    )


def test_latents_of_codes_equal_the_reference(codec: Codec, golden: dict[str, Tensor]) -> None:
    codes = golden["fsq.codes"][:, 0, :, 0].long()[None]
    latents = codec.quantizer.residual_fsq.decode(codes)
    torch.testing.assert_close(latents.transpose(1, 2), golden["fsq.from_codes"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("clip", range(3))
def test_latents_before_quantization_equal_the_reference(
    codec: Codec, golden: dict[str, Tensor], clip: int
) -> None:
    latents = codec.quantizer.downsample(golden[f"features.{clip}"][None])
    torch.testing.assert_close(latents[0], golden[f"latents.{clip}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("coordinate", range(4))
def test_codes_change_at_the_thresholds_of_the_double_bound(
    fsq: FiniteScalarQuantizer, coordinate: int
) -> None:
    for index, threshold in enumerate(THRESHOLDS[min(coordinate, 1)]):
        values = torch.zeros(2, 4)
        values[:, coordinate] = torch.tensor([threshold - 2e-5, threshold + 2e-5])
        codes = fsq.values_to_codes(fsq(values))
        digits = codes // math.prod(LEVELS[:coordinate]) % LEVELS[coordinate]
        assert digits.tolist() == [index, index + 1]


def test_hand_made_codes(fsq: FiniteScalarQuantizer) -> None:
    values = fsq.codes_to_values(
        torch.tensor([0, 7, 8, 40, 200, 999, 4 + 2 * 8 + 2 * 40 + 2 * 200])
    )
    assert values.tolist() == [
        [-1, -1, -1, -1],
        [0.75, -1, -1, -1],
        [-1, -0.5, -1, -1],
        [-1, -1, -0.5, -1],
        [-1, -1, -1, -0.5],
        [0.75, 1, 1, 1],
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize("levels", [LEVELS, (3, 4), (2,), (7, 5, 5, 5, 5)])
def test_decoded_codes_are_encoded_to_the_same_codes(levels: tuple[int, ...]) -> None:
    fsq = FiniteScalarQuantizer(levels)
    codes = torch.arange(fsq.codebook_size)
    assert torch.equal(fsq.values_to_codes(fsq.codes_to_values(codes)), codes)


@pytest.mark.parametrize("levels", [LEVELS, (3, 4), (7, 6, 5)])
def test_codes_span_the_codebook_and_never_leave_it(levels: tuple[int, ...]) -> None:
    fsq = FiniteScalarQuantizer(levels)
    grid = torch.linspace(-40, 40, 4001).tanh() * 2
    axes = [
        grid[torch.randint(len(grid), (200_000,), generator=torch.manual_seed(k))]
        for k in range(len(levels))
    ]
    codes = fsq.values_to_codes(fsq(torch.stack(axes, dim=-1)))
    assert int(codes.min()) == 0
    assert int(codes.max()) == fsq.codebook_size - 1


def test_gradients_ignore_the_rounding(fsq: FiniteScalarQuantizer) -> None:
    values = torch.linspace(-0.5, 0.5, 12).reshape(3, 4).requires_grad_()
    (fsq(values) * torch.arange(1.0, 13.0).reshape(3, 4)).sum().backward()
    smooth = values.detach().clone().requires_grad_()
    bounded = fsq.bound(fsq.bound(smooth)) / fsq.half_widths
    (bounded * torch.arange(1.0, 13.0).reshape(3, 4)).sum().backward()
    assert values.grad is not None
    assert (values.grad > 0).all()
    torch.testing.assert_close(values.grad, smooth.grad)


def test_groups_are_independent() -> None:
    torch.manual_seed(0)
    grouped = GroupedFiniteScalarQuantizer(12, num_codebooks=3, levels=LEVELS)
    latents = torch.randn(2, 12, 5)
    changed = latents.clone()
    changed[:, 4:8] += 10
    before, after = grouped(latents), grouped(changed)
    assert torch.equal(before.codes[:, ::2], after.codes[:, ::2])
    assert not torch.equal(before.codes[:, 1], after.codes[:, 1])
    torch.testing.assert_close(grouped.decode(before.codes), before.latents)


def test_upsampling_undoes_the_last_downsampling_first() -> None:
    config = QuantizerConfig(
        input_dim=4, n_groups=2, n_codebooks=1, levels=LEVELS, downsample_factor=(2, 3, 5)
    )
    quantizer = DownsamplingQuantizer(config)
    assert quantizer.upsample is not None
    assert [layer[0].stride for layer in quantizer.downsample] == [2, 3, 5]
    assert [layer[0].stride for layer in quantizer.upsample] == [5, 3, 2]
    features = torch.randn(1, 4, 2 * 30)
    latents = quantizer.downsample(features)
    assert latents.shape == (1, 4, 2)
    assert quantizer.upsample(latents).shape == features.shape
