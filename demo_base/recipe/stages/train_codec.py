"""Train the codec's encoder, FSQ and upsampling against the mel spectrogram and the phones.

Beside the codec, three temporary networks are trained. A decoder reads the mel spectrogram.
Classifiers read the phones of a frame from its first code, and those of its halves from its first
three codes. The slow transformer chooses the first code. Without a classifier this code says
nothing about the phone, and a model that chooses it cannot follow the text. A predictor predicts
the codes, and the codec learns codes that can be predicted (see ``code_rate``).

In some crops, the decoder reads the first codebooks only. So they come to hold what matters most,
and an error of the fast transformer in one of the last codes is hardly heard.

The waveform head costs three to four times as much per second of speech, so it is trained in a
stage of its own. Both run on a CUDA GPU if there is one.
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from demo_base.recipe import paths
from demo_base.recipe.code_rate import CodePredictor, code_nats
from demo_base.recipe.crops import CropSampler, CropTrainingParams
from demo_base.recipe.initialize import (
    LAYER_SCALE,
    code_entropy_bits,
    copy_weights,
    random_codec,
)
from demo_base.recipe.losses import mel_distance, soft_cross_entropy
from demo_base.recipe.phones import LABELS_PER_FRAME, PHONES
from demo_base.recipe.training_loop import (
    join_processes,
    train,
    training_device,
    with_seed_of_process,
)
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.codec.layers import ConvNeXtBlock
from fishdvc.codec.quantizer import CodebookProjection
from fishdvc.params import read_params

NUM_INITIAL_CROPS = 256
PHONE_DIM = 256
NUM_PHONE_CODEBOOKS = 3
"""Codebooks from which the phones of both halves of a frame are read."""
RATE_WARMUP_STEPS = 200
"""Steps in which the weight of the rate rises, because the predictor knows nothing at first."""


class CodecParams(CropTrainingParams):
    """Section ``codec`` of params.yaml."""

    latent_limit: float = Field(description="Limit of the latents before FSQ.", gt=0)
    latent_penalty: float = Field(description="Weight of the penalty beyond the limit.", ge=0)
    all_codebooks_share: float = Field(
        description="Share of the crops that keep all codebooks.", gt=0, le=1
    )
    distance_weight: float = Field(description="Weight of the distance of the spectra.", ge=0)
    phone_weight: float = Field(
        description="Weight of the cross entropy of the phones after the first code.", ge=0
    )
    half_frame_phone_weight: float = Field(
        description="Weight of the cross entropy of the phones of half frames.", ge=0
    )
    rate_weight: float = Field(description="Weight of the nats of a frame's codes.", ge=0)


def mel_decoder(channels: int, mean_mel: Tensor) -> nn.Module:
    """Build a small decoder from upsampled features to mel bands.

    Its bias starts at the mean mel ``(num_mels,)``, which is thousands of small steps from 0.
    """
    block = ConvNeXtBlock(channels)
    nn.init.constant_(block.gamma, LAYER_SCALE)
    last = nn.Conv1d(channels, len(mean_mel), kernel_size=1)
    last.bias = nn.Parameter(mean_mel)
    return nn.Sequential(block, last)


def phone_predictor(num_values: int, num_labels: int) -> nn.Module:
    """Build a network from values of codes to the logits of ``PHONES`` of some labels."""
    return nn.Sequential(
        nn.Linear(num_values, PHONE_DIM),
        nn.GELU(),
        nn.Linear(PHONE_DIM, PHONE_DIM),
        nn.GELU(),
        nn.Linear(PHONE_DIM, num_labels * len(PHONES)),
        nn.Unflatten(-1, (num_labels, len(PHONES))),
    )


def draw_num_kept(rng: np.random.Generator, params: CodecParams, num_codebooks: int) -> Tensor:
    """Draw how many codebooks each crop keeps, ``(batch_size,)``: all, or 1 to all but one."""
    drawn = rng.integers(1, num_codebooks, params.batch_size)
    keeps_all = rng.random(params.batch_size) < params.all_codebooks_share
    return torch.from_numpy(np.where(keeps_all, num_codebooks, drawn))


def keep_first_codebooks(latents: Tensor, num_kept: Tensor, num_codebooks: int) -> Tensor:
    """Set the latents of all but the first codebooks to 0 (nested dropout).

    Rippel et al. 2014, https://arxiv.org/abs/1402.0915.

    Args:
        latents: ``(batch, channels, frames)``, the channels of one codebook after the other.
        num_kept: Codebooks that each item of the batch keeps, ``(batch,)``.
        num_codebooks: Number of codebooks.
    """
    codebook_of_channel = torch.arange(num_codebooks, device=latents.device).repeat_interleave(
        latents.shape[1] // num_codebooks
    )
    is_kept = codebook_of_channel < num_kept.unsqueeze(1)
    return latents * is_kept.unsqueeze(2)


def fsq_inputs(codec: Codec, latents: Tensor) -> list[Tensor]:
    """Project latents to the values before FSQ, ``(batch, frames, coordinates)`` per codebook."""
    fsq = codec.quantizer.residual_fsq
    projections = [p for p in fsq.rvqs if isinstance(p, CodebookProjection)]
    groups = latents.chunk(fsq.num_codebooks, dim=1)
    return [
        projection.project_in(group.transpose(1, 2))
        for projection, group in zip(projections, groups, strict=True)
    ]


def latent_excess(fsq_inputs: list[Tensor], limit: float) -> Tensor:
    """Penalize values before FSQ beyond ``limit``, and their means away from 0."""
    excess = fsq_inputs[0].new_zeros(())
    for values in fsq_inputs:
        excess = excess + nn.functional.relu(values.abs() - limit).square().mean()
        excess = excess + values.mean(dim=(0, 1)).square().mean()
    return excess


def main() -> None:
    """Write the codec's weights without the head."""
    params = read_params(paths.PARAMS, "codec", CodecParams)
    rank = join_processes()
    own_params = with_seed_of_process(params, rank)
    config = CodecConfig.read(paths.CODEC_CONFIG)
    crops = CropSampler(
        paths.SPEECH,
        own_params,
        frame_length_samples=config.frame_length_samples,
        phone_labels=paths.PHONE_LABELS,
    )
    log_mel = Codec(config, decoder=False).log_mel
    mel = log_mel(crops.batch(0, NUM_INITIAL_CROPS).audio)
    codec = random_codec(config, mel, seed=params.seed)
    if params.initial_weights:
        initial = load_codec(Path(params.initial_weights), config)
        copy_weights(initial.backbone, codec.backbone)
        copy_weights(initial.quantizer, codec.quantizer)
    assert codec.quantizer.upsample is not None
    upsample = codec.quantizer.upsample
    fsq = codec.quantizer.residual_fsq
    decoder = mel_decoder(config.quantizer.input_dim, mel.mean(dim=(0, 2)))
    coordinates = len(config.quantizer.levels)
    phones = phone_predictor(coordinates, 1)
    half_frame_phones = phone_predictor(NUM_PHONE_CODEBOOKS * coordinates, LABELS_PER_FRAME)
    predictor = CodePredictor(config.num_codebooks, coordinates, len(PHONES))

    modules = nn.ModuleDict(
        {
            "backbone": codec.backbone,
            "quantizer": codec.quantizer,
            "decoder": decoder,
            "phones": phones,
            "half_frame_phones": half_frame_phones,
            "predictor": predictor,
        }
    )
    device = training_device()
    modules.to(device)
    log_mel.to(device)

    def step(number: int) -> dict[str, Tensor]:
        batch = crops.batch(number)
        assert batch.labels is not None
        phone_labels = batch.labels.to(device)
        with torch.no_grad():
            mel = log_mel(batch.audio.to(device))
        latents = codec.quantizer.downsample(codec.backbone(mel))
        quantized = fsq(latents)
        values = fsq_inputs(codec, latents)
        rng = np.random.default_rng((own_params.seed, number, 1))
        num_kept = draw_num_kept(rng, params, fsq.num_codebooks)
        kept = keep_first_codebooks(quantized.latents, num_kept.to(device), fsq.num_codebooks)
        decoded = decoder(upsample(kept))
        distance = mel_distance(decoded, mel)
        excess = latent_excess(values, params.latent_limit)
        quantized_values = [fsq.fsq(v) for v in values]
        labels = torch.unflatten(phone_labels, 1, (-1, LABELS_PER_FRAME))
        phone_loss = soft_cross_entropy(
            phones(quantized_values[0]), labels.mean(dim=2, keepdim=True)
        )
        first_values = torch.cat(quantized_values[:NUM_PHONE_CODEBOOKS], dim=-1)
        half_frame_phone_loss = soft_cross_entropy(half_frame_phones(first_values), labels)
        predictions = predictor(quantized_values, phone_labels)
        nats = [
            code_nats(fsq.fsq, v, *p) for v, p in zip(quantized_values, predictions, strict=True)
        ]
        rate = torch.stack(nats).sum(dim=0).mean()
        rate_weight = params.rate_weight * min(1.0, number / RATE_WARMUP_STEPS)
        bits = code_entropy_bits(quantized.codes.transpose(0, 1).flatten(1), config.codebook_size)
        return {
            "loss": params.distance_weight * distance
            + params.latent_penalty * excess
            + params.phone_weight * phone_loss
            + params.half_frame_phone_weight * half_frame_phone_loss
            + rate_weight * rate,
            "distance": distance,
            "phone_loss": phone_loss,
            "half_frame_phone_loss": half_frame_phone_loss,
            "rate": rate,
            "mel_error": (decoded - mel).abs().mean(),
            "min_bits": bits.min(),
        }

    train(modules, step, params, state=paths.STATES / "codec.pt")
    if rank > 0:
        return
    paths.ENCODER_WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    weights = {k: v.cpu() for k, v in codec.state_dict().items() if not k.startswith("head.")}
    torch.save(weights, paths.ENCODER_WEIGHTS)


if __name__ == "__main__":
    main()
