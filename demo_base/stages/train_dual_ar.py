"""Train the dual-AR model from scratch on texts and the codes of their speech."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demo_base.dual_ar_params import DualARParams
from demo_base.guided import GuidedDualAR
from demo_base.resumable import train
from demo_base.sequences import (
    PromptShape,
    SequenceSampler,
    collate,
    diagonal_log_weights,
    voice_shares,
)
from fishdvc.dataset.examples import tokenize_sentence
from fishdvc.model.config import read_config
from fishdvc.params import read_params
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.loss import IGNORED_LABEL, dual_ar_loss


def random_model(
    folder: Path, tokenizer_ids: int, semantic_begin_id: int, guided_layers: tuple[int, ...]
) -> GuidedDualAR:
    """Build the model that config.json describes; its vocabulary must be the tokenizer's."""
    config = read_config(folder)
    assert config.vocab_size >= tokenizer_ids
    model = GuidedDualAR(
        config,
        semantic_begin_id=semantic_begin_id,
        num_semantic_tokens=config.codebook_size,
        guided_layers=guided_layers,
    )
    std = json.loads(folder.read_text())["initializer_range"]
    for parameter in model.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=std)
    return model


def main() -> None:
    """Write ``model.pth`` in bfloat16, flat keys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the model's config.json")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True, help="folder of the texts")
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True, help="file to go on from")
    parser.add_argument("--model", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    params = read_params(args.params, "dual_ar", DualARParams)
    torch.set_num_threads(1)
    torch.manual_seed(params.seed)
    tokenizer = load_tokenizer(args.tokenizer)
    model = random_model(
        args.config, tokenizer.num_ids, tokenizer.semantic_begin_id, params.guided_layers
    )
    voices = {
        voice: [
            tokenize_sentence(
                tokenizer,
                [(args.speech / voice / f"{path.stem}.lab").read_text(encoding="utf-8")],
                np.load(path),
            )
            for path in sorted((args.codes / voice).glob("*.npy"))
        ]
        for voice in params.voices
    }
    sizes = {voice: len(sentences) for voice, sentences in voices.items()}
    sampler = SequenceSampler(
        list(voices.values()),
        shares=voice_shares(sizes, human_share=params.human_share),
        curriculum_steps=params.curriculum_steps,
        max_tokens=model.config.max_seq_len,
        seed=params.seed,
    )
    shape = PromptShape.of(tokenizer)

    def step(number: int) -> dict[str, Tensor]:
        sequences = sampler.sequences(number, params.batch_frames)
        batch = collate(sequences, padding_id=tokenizer.end_of_text_id)
        torch.manual_seed(params.seed * 2**32 + number)
        left = 1 - number / params.num_steps
        model.noise = params.history_noise * left
        model.log_weights = diagonal_log_weights(sequences, shape, spread=params.guidance_spread)
        # The fast transformer costs as much as the slow one and learns sooner.
        left_out = torch.rand(batch.labels[:, 0].shape) >= params.fast_share
        batch.labels[:, 1:].masked_fill_(left_out.unsqueeze(1), IGNORED_LABEL)
        figures = dual_ar_loss(model, batch.inputs, batch.labels)
        miss = torch.stack(model.misses).mean()
        return {
            "loss": figures.loss + params.guidance * left * miss,
            "token_loss": figures.token_loss,
            "code_loss": figures.code_loss,
            "top_5": figures.top_5_accuracy,
            "attention_miss": miss,
        }

    train(
        nn.ModuleDict({"model": model}),
        step,
        params,
        state=args.state,
        warmup_steps=params.warmup_steps,
    )
    torch.save({k: v.bfloat16() for k, v in model.state_dict().items()}, args.model)


if __name__ == "__main__":
    main()
