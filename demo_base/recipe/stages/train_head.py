"""Train the codec's upsampling and waveform head on the codes of the frozen encoder."""

from pathlib import Path

import torch
from torch import Tensor, nn

from demo_base.recipe import paths
from demo_base.recipe.crops import CropSampler, CropTrainingParams
from demo_base.recipe.initialize import copy_weights
from demo_base.recipe.losses import SpectralLoss
from demo_base.recipe.training_loop import (
    join_processes,
    train,
    training_device,
    with_seed_of_process,
)
from fishdvc.codec.checkpoint import load_codec, merge_weight_norm
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.params import read_params

WINDOWS = (256, 512, 1024)


def main() -> None:
    """Write the whole codec in the published format: flat keys, weight norm merged."""
    params = read_params(paths.PARAMS, "head", CropTrainingParams)
    rank = join_processes()
    torch.manual_seed(params.seed)
    config = CodecConfig.read(paths.CODEC_CONFIG)
    codec = Codec(config)
    assert codec.head is not None
    assert codec.quantizer.upsample is not None
    upsample, head = codec.quantizer.upsample, codec.head
    weights = torch.load(paths.ENCODER_WEIGHTS, weights_only=True)
    codec.load_state_dict(weights | {f"head.{k}": v for k, v in head.state_dict().items()})
    if params.initial_weights:
        initial = load_codec(Path(params.initial_weights), config)
        assert initial.head is not None
        copy_weights(initial.head, head)
    own_params = with_seed_of_process(params, rank)
    crops = CropSampler(paths.SPEECH, own_params, frame_length_samples=config.frame_length_samples)
    device = training_device()
    codec.to(device)
    spectral_loss = SpectralLoss(codec.log_mel, WINDOWS)

    def step(number: int) -> dict[str, Tensor]:
        audio = crops.batch(number).audio.to(device)
        with torch.no_grad():
            latents = codec.quantizer.downsample(codec.backbone(codec.log_mel(audio)))
            quantized = codec.quantizer.residual_fsq(latents).latents
        loss, mel_error = spectral_loss(head(upsample(quantized)).squeeze(1), audio)
        return {"loss": loss, "mel_error": mel_error}

    train(
        nn.ModuleDict({"upsample": upsample, "head": head}),
        step,
        params,
        state=paths.STATES / "head.pt",
    )
    if rank == 0:
        torch.save(merge_weight_norm(codec.cpu().state_dict()), paths.CODEC_WEIGHTS)


if __name__ == "__main__":
    main()
