"""Fixtures: a small model with an adapter, and batches to train it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import tokenize_sentence, training_example
from fishdvc.lora.adapter import add_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.module import AdapterTraining
from fishdvc.training.trainer import build_trainer
from tests.sections import shipped

MakeModule = Callable[..., AdapterTraining]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="session")
def make_module(assets: Path) -> MakeModule:
    def make(**changes: float) -> AdapterTraining:
        torch.manual_seed(0)
        model = load_dual_ar(assets / "text2semantic")
        adapted = add_adapter(model, r=2, alpha=4, dropout=0.0)
        settings = {"learning_rate": 1e-3, "warmup_steps": 0, "weight_decay": 0.0, "seed": 0}
        module = AdapterTraining(adapted, shipped("train_lora", **{**settings, **changes}))
        return module.train()

    return make


@pytest.fixture(scope="session")
def make_trainer() -> MakeTrainer:
    def make(*callbacks: Callback, **changes: object) -> Trainer:
        steps = {"max_steps": 4, "val_every_steps": 2, "checkpoint_every_steps": 2}
        steps |= {"precision": "32-true"}
        params = shipped("train_lora", **{**steps, **changes})
        machine = shipped("machine", accelerator="cpu", devices=1)
        trainer = build_trainer(params, machine)
        trainer.callbacks += callbacks
        return trainer

    return make


@pytest.fixture(scope="session")
def batches(assets: Path) -> list[Batch]:
    """Four batches of 1, 2, 3 and 1 sentences of different lengths."""
    tokenizer = load_tokenizer(assets / "text2semantic")
    rng = np.random.default_rng(0)
    made = []
    for size in (1, 2, 3, 1):
        examples = []
        for i in range(size):
            codes = rng.integers(1, 1000, (8, 4 + 3 * i + size)).astype(np.uint16)
            sentence = tokenize_sentence(tokenizer, (f"Sentence {i}.",), codes)
            examples.append(training_example(sentence, 0))
        made.append(collate_sequences(examples, padding_id=tokenizer.end_of_text_id))
    return made


@pytest.fixture(scope="session")
def loader(batches: list[Batch]) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
