"""Train upsampling and waveform head on the codes of the frozen encoder."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from demo_base.losses import SpectralLoss
from demo_base.resumable import train
from demo_base.speech import CropSampler
from fishdvc.codec import Codec, CodecConfig
from fishdvc.codec.checkpoint import merge_weight_norm
from fishdvc.params import param, read_params

WINDOWS = (256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class HeadParams:
    """Section ``head`` of params.yaml."""

    seed: int = param("Of weights and crops.")
    num_steps: int = param("Steps of the optimizer.", at_least=1)
    batch_size: int = param("Crops in a step.", at_least=1)
    crop_frames: int = param("Frames of codes in a crop.", at_least=1)
    human_share: float = param("Of the crops.", at_least=0, at_most=1)
    learning_rate: float = param("Of AdamW.", above=0)


def main() -> None:
    """Write the whole codec, as it is published: flat keys, weight norm merged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the codec's JSON")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True, help="of train_codec")
    parser.add_argument("--state", type=Path, required=True, help="file to go on from")
    parser.add_argument("--generator", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    params = read_params(args.params, "head", HeadParams)
    torch.set_num_threads(1)
    torch.manual_seed(params.seed)
    config = CodecConfig.read(args.config)
    codec = Codec(config)
    assert codec.head is not None
    assert codec.quantizer.upsample is not None
    upsample, head = codec.quantizer.upsample, codec.head
    weights = torch.load(args.codec, weights_only=True)
    codec.load_state_dict(weights | {f"head.{k}": v for k, v in head.state_dict().items()})
    crops = CropSampler(
        args.speech,
        num_samples=params.crop_frames * config.frame_length_samples,
        human_share=params.human_share,
        seed=params.seed,
    )
    spectral_loss = SpectralLoss(codec.log_mel, WINDOWS)

    def step(number: int) -> dict[str, Tensor]:
        audio = crops.batch(number, params.batch_size)
        with torch.no_grad():
            latents = codec.quantizer.downsample(codec.backbone(codec.log_mel(audio)))
            quantized = codec.quantizer.residual_fsq(latents).latents
        loss, mel_error = spectral_loss(head(upsample(quantized)).squeeze(1), audio)
        return {"loss": loss, "mel_error": mel_error}

    train(nn.ModuleDict({"upsample": upsample, "head": head}), step, params, state=args.state)
    torch.save(merge_weight_norm(codec.state_dict()), args.generator)


if __name__ == "__main__":
    main()
