"""Every label has the same weight, however the labels are divided among batches and processes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from fishdvc.dataset.collate import collate_sequences
from fishdvc.dataset.datamodule import SentenceDataModule
from fishdvc.dataset.examples import tokenize_sentence, training_example
from fishdvc.dataset.sentence_set import SentenceSet
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer
from fishdvc.training.loss import dual_ar_loss


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


def sentences_of(tokenizer: Tokenizer, num_frames: Sequence[int]) -> SentenceSet:
    rng = np.random.default_rng(0)
    sentences = tuple(
        tokenize_sentence(tokenizer, ["Text."], rng.integers(1, 1000, (8, frames)))
        for frames in num_frames
    )
    return SentenceSet(sentences, (0,) * len(sentences), ())


def data_of(train: SentenceSet, val: SentenceSet, **options: Any) -> SentenceDataModule:
    return SentenceDataModule(train, val, padding_id=1025, seed=0, **options)


class Gradients(Callback):
    """Keeps the gradients of the last step."""

    def on_before_optimizer_step(self, _trainer: Any, module: Any, _optimizer: Any) -> None:
        self.of_step = gradients_of(module)


def gradients_of(module: Any) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_accumulated_batches_have_the_gradient_of_their_labels_together(
    tokenizer: Tokenizer, make_module: Any, make_trainer: Any
) -> None:
    train = sentences_of(tokenizer, [0, 110])
    assert [s.label_counts[:2] for s in train.sentences] == [(2, 8), (112, 888)]
    one_each = max(sentence.num_tokens for sentence in train.sentences)
    data = data_of(train, train, batch_size=1, max_length=one_each, accumulate_grad_batches=2)
    recorder = Gradients()
    module = make_module()
    for name, parameter in module.named_parameters():
        if "lora_B" in name or "embedding_A" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    together = collate_sequences([training_example(s) for s in train.sentences], padding_id=1025)
    result = dual_ar_loss(module.model, together)
    result.loss.backward()
    expected = gradients_of(module)
    module.zero_grad()
    settings = {"accumulate_grad_batches": 2, "gradient_clip_norm": 0.0}
    make_trainer(recorder, max_steps=1, val_every_steps=5, **settings).fit(module, data)
    assert recorder.of_step.keys() == expected.keys()
    for name, gradient in recorder.of_step.items():
        difference = (gradient - expected[name]).norm()
        assert difference <= 1e-6 * max(1.0, expected[name].norm()), name
    assert module.step_tensors[0] == pytest.approx(result.loss.item(), abs=1e-5)
    assert module.step_tensors[3] == pytest.approx(result.top_5_accuracy.item(), abs=1e-6)


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_the_validation_loss_of_5_clips_does_not_depend_on_the_number_of_processes(
    num_ranks: int, tokenizer: Tokenizer, make_module: Any
) -> None:
    val = sentences_of(tokenizer, [3, 9, 4, 20, 11])
    data = data_of(val, val, batch_size=1, max_length=200)
    module = make_module().eval()

    def validate(rank: int, num_ranks: int) -> Tensor:
        data.trainer = SimpleNamespace(global_rank=rank, world_size=num_ranks, current_epoch=0)  # type: ignore[assignment]
        module.on_validation_epoch_start()
        with torch.inference_mode():
            for batch in data.val_dataloader():
                module.validation_step(batch, 0)
        return torch.stack((module._val_sums, torch.from_numpy(module._val_counts)))

    several = torch.stack([validate(rank, num_ranks) for rank in range(num_ranks)]).sum(0)
    torch.testing.assert_close(several, validate(0, 1), rtol=1e-6, atol=1e-5)
