"""Initial weights of the codec, and the entropy of its codes."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.layers import ConvNeXtBlock
from fishdvc.codec.quantizer import CodebookProjection

LATENT_SPREAD = 0.6
"""Standard deviation of a coordinate before FSQ bounds and rounds it.

The rounding thresholds begin at 0.13. Beyond 1 the bound is flat and passes no gradient.
"""
LAYER_SCALE = 0.1
"""The published 1e-6 is for deep encoders. In a shallow one the blocks would learn too late."""


def random_codec(config: CodecConfig, mel: Tensor, *, seed: int) -> Codec:
    """Build a codec for training whose codes are not constant.

    With the usual initialization the latents differ by 0.007, so all frames get the same codes and
    the straight-through gradient teaches nothing. The projections before FSQ are therefore set to
    whiten the latents of a first batch.

    Args:
        config: Sizes of the codec.
        mel: Log-mel frames of speech, ``(batch, num_mels, mel_frames)``.
        seed: Seed of the random weights.
    """
    torch.manual_seed(seed)
    codec = Codec(config)
    for module in codec.modules():
        if isinstance(module, ConvNeXtBlock):
            torch.nn.init.constant_(module.gamma, LAYER_SCALE)
    with torch.no_grad():
        latents = codec.quantizer.downsample(codec.backbone(mel))
        groups = latents.chunk(config.num_codebooks, dim=1)
        for projection, group in zip(codec.quantizer.residual_fsq.rvqs, groups, strict=True):
            assert isinstance(projection, CodebookProjection)
            linear = projection.project_in
            flat = group.transpose(1, 2).flatten(0, 1)
            _, spread, directions = torch.pca_lowrank(flat, q=linear.out_features)
            scale = LATENT_SPREAD * len(flat) ** 0.5 / spread
            linear.weight.copy_(directions.T * scale[:, None])
            linear.bias.copy_(-(linear.weight @ flat.mean(dim=0)))
    return codec


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of a module with merged weight norm to one that may have weight norm."""
    for name, module in source.named_modules():
        other = target.get_submodule(name)
        for key, weight in module.named_parameters(recurse=False):
            if parametrize.is_parametrized(other, key):
                setattr(other, key, weight.detach().clone())
            else:
                other.get_parameter(key).copy_(weight)


def code_entropy_bits(codes: Tensor, codebook_size: int) -> Tensor:
    """Compute the entropy of each codebook's codes, in bits.

    Args:
        codes: ``(num_codebooks, frames)``.
        codebook_size: Number of different codes.

    Returns:
        ``(num_codebooks,)``.
    """
    counts = torch.stack([torch.bincount(row, minlength=codebook_size) for row in codes])
    shares = counts / counts.sum(dim=1, keepdim=True)
    nats: Tensor = torch.special.entr(shares).sum(dim=1)
    return nats / math.log(2)
