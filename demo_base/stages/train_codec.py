"""Train encoder, FSQ and upsampling against the mel spectrogram, with a throw-away mel decoder.

A step of the waveform head costs ten times one of these, so the head comes afterwards.
"""

import argparse
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from demo_base.initialize import code_entropy_bits, random_codec
from demo_base.losses import mel_distance
from demo_base.resumable import train
from demo_base.speech import CropSampler, CropTrainingParams
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.layers import ConvNeXtBlock
from fishdvc.codec.quantizer import CodebookProjection
from fishdvc.params import read_params

NUM_INITIAL_CROPS = 256


class CodecParams(CropTrainingParams):
    """Section ``codec`` of params.yaml."""

    latent_limit: float = Field(description="Latents before FSQ are penalized beyond.", gt=0)
    latent_penalty: float = Field(description="Weight of the penalty.", ge=0)


def mel_decoder(channels: int, mean_mel: Tensor) -> nn.Module:
    """Build what reads the mel off the upsampled features; thin, so that the upsampling learns.

    It begins at the mean mel ``(num_mels,)``, which lies thousands of small steps from 0.
    """
    block = ConvNeXtBlock(channels)
    nn.init.constant_(block.gamma, 0.1)
    last = nn.Conv1d(channels, len(mean_mel), kernel_size=1)
    last.bias = nn.Parameter(mean_mel)
    return nn.Sequential(block, last)


def latent_excess(codec: Codec, latents: Tensor, limit: float) -> Tensor:
    """Measure how far values before FSQ lie beyond ``limit``, and their means from 0."""
    excess = latents.new_zeros(())
    fsq = codec.quantizer.residual_fsq
    for projection, group in zip(fsq.rvqs, latents.chunk(fsq.num_codebooks, dim=1), strict=True):
        assert isinstance(projection, CodebookProjection)
        values = projection.project_in(group.transpose(1, 2))
        excess = excess + functional.relu(values.abs() - limit).square().mean()
        excess = excess + values.mean(dim=(0, 1)).square().mean()
    return excess


def main() -> None:
    """Write the codec's weights, but for the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the codec's JSON")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True, help="file to go on from")
    parser.add_argument("--codec", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    params = read_params(args.params, "codec", CodecParams)
    torch.set_num_threads(1)
    config = CodecConfig.read(args.config)
    crops = CropSampler(args.speech, params, frame_length_samples=config.frame_length_samples)
    log_mel = Codec(config, decoder=False).log_mel
    mel = log_mel(crops.batch(0, NUM_INITIAL_CROPS))
    codec = random_codec(config, mel, seed=params.seed)
    assert codec.quantizer.upsample is not None
    upsample = codec.quantizer.upsample
    decoder = mel_decoder(config.quantizer.input_dim, mel.mean(dim=(0, 2)))

    def step(number: int) -> dict[str, Tensor]:
        with torch.no_grad():
            mel = codec.log_mel(crops.batch(number))
        latents = codec.quantizer.downsample(codec.backbone(mel))
        quantized = codec.quantizer.residual_fsq(latents)
        decoded = decoder(upsample(quantized.latents))
        distance = mel_distance(decoded, mel)
        excess = latent_excess(codec, latents, params.latent_limit)
        bits = code_entropy_bits(quantized.codes.transpose(0, 1).flatten(1), config.codebook_size)
        return {
            "loss": distance + params.latent_penalty * excess,
            "distance": distance,
            "mel_error": (decoded - mel).abs().mean(),
            "min_bits": bits.min(),
        }

    modules = nn.ModuleDict(
        {"backbone": codec.backbone, "quantizer": codec.quantizer, "decoder": decoder}
    )
    train(modules, step, params, state=args.state)
    args.codec.parent.mkdir(parents=True, exist_ok=True)
    weights = {k: v for k, v in codec.state_dict().items() if not k.startswith("head.")}
    torch.save(weights, args.codec)


if __name__ == "__main__":
    main()
