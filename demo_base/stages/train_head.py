"""Train upsampling and waveform head on the codes of the frozen encoder."""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from demo_base.losses import SpectralLoss
from demo_base.resumable import train
from demo_base.speech import CropSampler, CropTrainingParams
from fishdvc.codec.checkpoint import merge_weight_norm
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.params import read_params

WINDOWS = (256, 512, 1024)


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
    params = read_params(args.params, "head", CropTrainingParams)
    torch.set_num_threads(1)
    torch.manual_seed(params.seed)
    config = CodecConfig.read(args.config)
    codec = Codec(config)
    assert codec.head is not None
    assert codec.quantizer.upsample is not None
    upsample, head = codec.quantizer.upsample, codec.head
    weights = torch.load(args.codec, weights_only=True)
    codec.load_state_dict(weights | {f"head.{k}": v for k, v in head.state_dict().items()})
    crops = CropSampler(args.speech, params, frame_length_samples=config.frame_length_samples)
    spectral_loss = SpectralLoss(codec.log_mel, WINDOWS)

    def step(number: int) -> dict[str, Tensor]:
        audio = crops.batch(number)
        with torch.no_grad():
            latents = codec.quantizer.downsample(codec.backbone(codec.log_mel(audio)))
            quantized = codec.quantizer.residual_fsq(latents).latents
        loss, mel_error = spectral_loss(head(upsample(quantized)).squeeze(1), audio)
        return {"loss": loss, "mel_error": mel_error}

    train(nn.ModuleDict({"upsample": upsample, "head": head}), step, params, state=args.state)
    torch.save(merge_weight_norm(codec.state_dict()), args.generator)


if __name__ == "__main__":
    main()
