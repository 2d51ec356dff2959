"""Train the dual-AR model on texts and the codes of their speech, on a CUDA GPU if there is one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from demo_base.recipe import paths
from demo_base.recipe.guided import GuidedDualAR
from demo_base.recipe.sequences import (
    PromptShape,
    SequenceSampler,
    collate,
    diagonal_log_weights,
)
from demo_base.recipe.training_loop import (
    TrainingParams,
    join_processes,
    train,
    training_device,
    with_seed_of_process,
)
from demo_base.recipe.voices import GroupShares, voice_shares
from fishdvc.dataset.examples import TokenizedSentence, tokenize_sentence
from fishdvc.model.checkpoint import load_weights
from fishdvc.model.config import read_config
from fishdvc.params import read_params
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer
from fishdvc.training.loss import dual_ar_loss
from fishdvc.validation import Items


class DualARParams(TrainingParams):
    """Section ``dual_ar`` of params.yaml."""

    group_shares: GroupShares = Field(description="Shares of the groups of voices.")
    batch_frames: int = Field(description="Frames of codes per step and process.", ge=1)
    curriculum_steps: int = Field(
        description="Steps until the longest sentences are drawn. Training begins with short ones.",
        ge=1,
    )
    history_noise: float = Field(
        description="Share of input frames replaced at random at first; falls linearly to 0.",
        ge=0,
        le=1,
    )
    guided_layers: Items[int] = Field(description="Layers whose first head is guided to the text.")
    guidance: float = Field(
        description="Weight of the guidance in the loss at first; falls linearly to 0.", ge=0
    )
    guidance_spread: float = Field(
        description="Standard deviation of the guided position, in tokens of text.", gt=0
    )
    fast_share: float = Field(
        description="Share of the frames that train the fast transformer.", gt=0, le=1
    )


def random_model(
    config_file: Path, tokenizer: Tokenizer, guided_layers: tuple[int, ...]
) -> GuidedDualAR:
    """Build the model that a config.json describes, with random weights."""
    config = read_config(config_file)
    assert config.vocab_size >= tokenizer.num_ids
    model = GuidedDualAR(
        config,
        semantic_begin_id=tokenizer.semantic_begin_id,
        guided_layers=guided_layers,
    )
    std = json.loads(config_file.read_text())["initializer_range"]
    for parameter in model.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=std)
    return model


def read_sentences(tokenizer: Tokenizer, codes: Path, speech: Path) -> list[TokenizedSentence]:
    """Read all clips of one voice from its folders of codes and of texts."""
    return [
        tokenize_sentence(
            tokenizer,
            [(speech / f"{path.stem}.lab").read_text(encoding="utf-8")],
            np.load(path),
        )
        for path in sorted(codes.glob("*.npy"))
    ]


def main() -> None:
    """Write ``model.pth`` in bfloat16 with flat keys."""
    params = read_params(paths.PARAMS, "dual_ar", DualARParams)
    rank = join_processes()
    own_params = with_seed_of_process(params, rank)
    torch.manual_seed(params.seed)
    tokenizer = load_tokenizer(paths.TOKENIZER)
    model = random_model(paths.MODEL_CONFIG, tokenizer, params.guided_layers)
    if params.initial_weights:
        model.load_state_dict(load_weights(params.initial_weights))
    device = training_device()
    model.to(device)
    voices = {
        folder.name: read_sentences(tokenizer, folder, paths.SPEECH / folder.name.split("@")[0])
        for folder in sorted(paths.CODES.iterdir())
    }
    shape = PromptShape.of(tokenizer)
    sampler = SequenceSampler(
        list(voices.values()),
        shares=voice_shares({name: len(voices[name]) for name in voices}, params.group_shares),
        curriculum_steps=params.curriculum_steps,
        shape=shape,
        max_tokens=model.config.max_seq_len,
        seed=own_params.seed,
    )

    def step(number: int) -> dict[str, Tensor]:
        sequences = sampler.sequences(number, params.batch_frames)
        torch.manual_seed(own_params.seed * 2**32 + number)
        left = 1 - number / params.num_steps
        model.noise = params.history_noise * left
        weights = diagonal_log_weights(sequences, shape, spread=params.guidance_spread)
        model.log_weights = weights.to(device)
        # The fast transformer takes as long as the slow one and learns faster.
        batch = collate(
            sequences,
            padding_id=tokenizer.end_of_text_id,
            code_label_share=params.fast_share,
        )
        tensors: dict[str, Any] = {
            k: v.to(device) for k, v in batch._asdict().items() if isinstance(v, Tensor)
        }
        figures = dual_ar_loss(model, batch._replace(**tensors))
        miss = torch.stack(model.misses).mean()
        return {
            "loss": figures.loss + params.guidance * left * miss,
            "token_loss": figures.token_loss,
            "code_loss": figures.code_loss,
            "top_5": figures.top_5_accuracy,
            "attention_miss": miss,
        }

    train(nn.ModuleDict({"model": model}), step, params, state=paths.STATES / "dual_ar.pt")
    if rank == 0:
        weights = {k: v.to("cpu", torch.bfloat16) for k, v in model.state_dict().items()}
        torch.save(weights, paths.MODEL_WEIGHTS)


if __name__ == "__main__":
    main()
