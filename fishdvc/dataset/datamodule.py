"""Training and validation batches for Lightning."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import lightning
import numpy as np
from torch import Tensor

from fishdvc.dataset.collate import Batch
from fishdvc.dataset.examples import LabelCounts
from fishdvc.dataset.loader import EpochBatches
from fishdvc.dataset.sentence_set import SentenceSet
from fishdvc.dataset.sequences import (
    draw_texts,
    pack_sentences,
    plan_batches,
    plan_ordered_batches,
)


class SentenceDataModule(lightning.LightningDataModule):
    """Batches of packed training sentences, and of single validation sentences.

    In each epoch every training sentence is used once, in a sequence with others of its speaker, in
    an order drawn from seed and epoch. Validation sentences are never packed or shuffled.

    The trainer needs ``reload_dataloaders_every_n_epochs=1``, because each epoch has its own plan,
    and ``use_distributed_sampler=False``, because the plan distributes batches over the ranks.

    Args:
        train: Sentences to train on.
        val: Held-out sentences.
        padding_id: Id of ``<|end_of_text|>``.
        batch_size: Maximum number of sequences of a batch, on each device.
        max_length: Maximum number of tokens of a sequence.
        accumulate_grad_batches: Batches per optimizer step. An epoch consists of whole steps;
            otherwise Lightning would end it with a smaller step and validate at other steps.
        seed: Seed of all draws, non-negative.
    """

    def __init__(
        self,
        train: SentenceSet,
        val: SentenceSet,
        *,
        padding_id: int,
        batch_size: int,
        max_length: int,
        accumulate_grad_batches: int = 1,
        seed: int,
    ) -> None:
        super().__init__()
        self.train = train
        self.val = val
        self.padding_id = padding_id
        self.batch_size = batch_size
        self.max_length = max_length
        self.accumulate_grad_batches = accumulate_grad_batches
        self.seed = seed

    def num_train_batches(self, epoch: int, num_ranks: int) -> int:
        """Number of batches that each of ``num_ranks`` processes has in an epoch."""
        return len(self._train_plan(epoch, num_ranks)[0])

    def num_sentences_seen(self, num_batches: int, num_ranks: int) -> int:
        """Number of training sentences in the first ``num_batches`` batches, of all ranks."""
        plan = self._train_plan(0, num_ranks)
        batches = [batch for rank in plan for batch in rank[:num_batches]]
        return len({i for batch in batches for sequence in batch for i in sequence})

    def train_dataloader(self) -> EpochBatches:
        """Return the batches of this rank in the trainer's current epoch."""
        trainer = cast(lightning.Trainer, self.trainer)
        epoch = trainer.current_epoch
        sentences = self.train.sentences
        plan = self._train_plan(epoch, trainer.world_size)
        return EpochBatches(
            sentences,
            draw_texts([len(s.ids) for s in sentences], seed=self.seed, epoch=epoch),
            plan[trainer.global_rank],
            list(self._divisors(plan)),
            padding_id=self.padding_id,
            epoch=epoch,
        )

    def val_dataloader(self) -> EpochBatches:
        """Return all validation sentences from short to long, each with its first text.

        With several ranks, some batches may be empty, so that all ranks have the same number.
        """
        trainer = cast(lightning.Trainer, self.trainer)
        sentences = self.val.sentences
        plan = plan_ordered_batches(
            [sentence.num_tokens for sentence in sentences],
            batch_size=self.batch_size,
            num_ranks=trainer.world_size,
        )
        batches = [[[i] for i in batch] for batch in plan[trainer.global_rank]]
        first_texts = [0] * len(sentences)
        return EpochBatches(
            sentences, first_texts, batches, padding_id=self.padding_id, epoch=trainer.current_epoch
        )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Copy a batch to pinned memory. From other memory, copies to a GPU synchronize with it."""
        trainer = cast(lightning.Trainer, self.trainer)
        if trainer.strategy.root_device.type != "cuda":
            return batch
        pinned = {k: v.pin_memory() for k, v in batch._asdict().items() if isinstance(v, Tensor)}
        return batch._replace(**cast(dict[str, Any], pinned))

    def _divisors(self, plan: Sequence[Sequence[Sequence[Sequence[int]]]]) -> Iterator[LabelCounts]:
        """Yield for each batch the mean numbers of labels of all batches of its step."""
        counts = np.array([sentence.label_counts for sentence in self.train.sentences])
        size = self.accumulate_grad_batches
        for first in range(0, len(plan[0]), size):
            batches = [batch for rank in plan for batch in rank[first : first + size]]
            used = [i for batch in batches for sequence in batch for i in sequence]
            mean = LabelCounts(*(counts[used].sum(axis=0) / len(batches)).tolist())
            yield from [mean] * size

    def _train_plan(self, epoch: int, num_ranks: int) -> list[list[list[list[int]]]]:
        """Plan an epoch: ``plan[rank][step]`` is a batch of sequences of sentences."""
        num_tokens = [sentence.num_tokens for sentence in self.train.sentences]
        sequences = pack_sentences(
            num_tokens,
            self.train.speakers,
            max_length=self.max_length,
            seed=self.seed,
            epoch=epoch,
        )
        # The batches of one optimizer step are distributed like those of a step of more ranks.
        accumulated = self.accumulate_grad_batches
        plan = plan_batches(
            [sum(num_tokens[i] for i in sequence) for sequence in sequences],
            batch_size=self.batch_size,
            num_ranks=num_ranks * accumulated,
            seed=self.seed,
            epoch=epoch,
        )
        return [
            [
                [sequences[i] for i in batch]
                for step in zip(*plan[first : first + accumulated], strict=True)
                for batch in step
            ]
            for first in range(0, len(plan), accumulated)
        ]
