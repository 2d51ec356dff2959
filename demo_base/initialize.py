"""A codec with random weights whose codes are not constant.

Knows how to begin training, not how to train.
"""

import math

import torch
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.layers import ConvNeXtBlock
from fishdvc.codec.quantizer import CodebookProjection

LATENT_SPREAD = 0.6
"""Standard deviation of a coordinate before it is bounded and rounded; its thresholds are at 0.13
and beyond, and where the bounds flatten, past 1, no gradient passes."""
LAYER_SCALE = 0.1
"""The published 1e-6 is for deep encoders; in a shallow one the blocks would wake too late."""


def random_codec(config: CodecConfig, mel: Tensor, *, seed: int) -> Codec:
    """Build a codec, and spread its latents over their places.

    At the usual initialisation the latents differ by 0.007, so every code would be the same, and
    the gradient that passes straight through the rounding teaches nothing.

    Args:
        config: The codec's numbers.
        mel: Log-mel frames of speech, ``(batch, num_mels, mel_frames)``.
        seed: Of the random weights.

    Returns:
        The codec, laid out for training.
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
            maps = projection.project_in
            # White coordinates: equal spread and no correlation, whatever the random features.
            flat = group.transpose(1, 2).flatten(0, 1)
            _, spread, directions = torch.pca_lowrank(flat, q=maps.out_features)
            scale = LATENT_SPREAD * len(flat) ** 0.5 / spread
            maps.weight.copy_(directions.T * scale[:, None])
            maps.bias.copy_(-(maps.weight @ flat.mean(dim=0)))
    return codec


def code_entropy_bits(codes: Tensor, codebook_size: int) -> Tensor:
    """Measure how much a code of each codebook says, in bits.

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
