"""Train the dual-AR model from scratch on texts and the codes of their speech."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from demo_base.resumable import train
from fishdvc.dataset.collate import collate_sequences
from fishdvc.dataset.semantic import TokenizedSentence, tokenize_sentence, training_example
from fishdvc.model.config import read_config
from fishdvc.model.dual_ar import DualAR
from fishdvc.params import param, read_params
from fishdvc.text import load_tokenizer
from fishdvc.training.loss import IGNORED_LABEL, dual_ar_loss

SENTENCE_COUNTS = (1, 1, 1, 2)
"""In a sequence: the first are to those after them what a reference is in generation."""


@dataclass(frozen=True, kw_only=True)
class DualARParams:
    """Section ``dual_ar`` of params.yaml."""

    seed: int = param("Of weights and batches.")
    voices: tuple[str, ...] = param("Voices that it learns to speak in.")
    num_steps: int = param("Steps of the optimizer.", at_least=1)
    batch_frames: int = param("Frames of codes in a batch.", at_least=1)
    learning_rate: float = param("Of AdamW.", above=0)
    warmup_steps: int = param("Over which the rate rises.", at_least=1)
    curriculum_steps: int = param("Over which longer and longer sentences come in.", at_least=1)
    fast_share: float = param(
        "Of the frames, those that the fast transformer learns.", above=0, at_most=1
    )


SHORTEST_SHARE = 0.15
"""Of the sentences, with which training begins: short ones show where in the text one is."""


class SequenceSampler:
    """Draws batches of sequences of one or two sentences of one voice, of like length."""

    def __init__(
        self, voices: list[list[TokenizedSentence]], *, curriculum_steps: int, seed: int
    ) -> None:
        self.voices = [sorted(voice, key=lambda s: s.num_tokens) for voice in voices]
        self.curriculum_steps, self.seed = curriculum_steps, seed
        self.shares = np.array([len(voice) for voice in voices]) / sum(map(len, voices))

    def batch(
        self, step: int, num_frames: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Draw sequences, tokens and labels of each, that hold about so many frames together."""
        rng = np.random.default_rng((self.seed, step))
        length = int(rng.choice(SENTENCE_COUNTS))
        known = min(1.0, SHORTEST_SHARE + (1 - SHORTEST_SHARE) * step / self.curriculum_steps)
        drawn: list[list[TokenizedSentence]] = []
        # Twice as many as needed: a window of the sorted ones is of like length.
        while sum(s.codes.shape[1] for sequence in drawn for s in sequence) < 2 * num_frames:
            voice = self.voices[rng.choice(len(self.voices), p=self.shares)]
            drawn.append([voice[i] for i in rng.integers(known * len(voice), size=length)])
        drawn.sort(key=lambda sequence: sum(s.num_tokens for s in sequence))
        half = (len(drawn) + 1) // 2
        start = int(rng.integers(len(drawn) - half + 1))
        examples = [[training_example(s) for s in q] for q in drawn[start : start + half]]
        return [
            (
                np.concatenate([tokens for tokens, _ in sequence], axis=1),
                np.concatenate([labels for _, labels in sequence], axis=1),
            )
            for sequence in examples
        ]


def random_model(folder: Path, tokenizer_ids: int, semantic_begin_id: int) -> DualAR:
    """Build the model that config.json describes; its vocabulary must be the tokenizer's."""
    config = read_config(folder)
    assert config.vocab_size >= tokenizer_ids
    model = DualAR(
        config, semantic_begin_id=semantic_begin_id, num_semantic_tokens=config.codebook_size
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
    model = random_model(args.config, tokenizer.num_ids, tokenizer.semantic_begin_id)
    voices = [
        [
            tokenize_sentence(
                tokenizer,
                [(args.speech / voice / f"{path.stem}.lab").read_text()],
                np.load(path),
            )
            for path in sorted((args.codes / voice).glob("*.npy"))
        ]
        for voice in params.voices
    ]
    sequences = SequenceSampler(voices, curriculum_steps=params.curriculum_steps, seed=params.seed)

    def step(number: int) -> dict[str, Tensor]:
        examples = sequences.batch(number, params.batch_frames)
        batch = collate_sequences(examples, padding_id=tokenizer.end_of_text_id)
        # The fast transformer costs as much as the slow one and learns sooner.
        rng = torch.Generator().manual_seed(params.seed * 2**32 + number)
        left_out = torch.rand(batch.labels[:, 0].shape, generator=rng) >= params.fast_share
        batch.labels[:, 1:].masked_fill_(left_out.unsqueeze(1), IGNORED_LABEL)
        figures = dual_ar_loss(model, batch.inputs, batch.labels)
        return {
            "loss": figures.loss,
            "base_loss": figures.base_loss,
            "codebook_loss": figures.codebook_loss,
            "top_5": figures.top_5_accuracy,
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
