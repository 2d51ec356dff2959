"""Training and validation data for Lightning: shards in, batches of the current epoch out.

Knows neither the model nor the loss.
"""

from functools import cached_property
from pathlib import Path

import lightning
from torch.utils.data import DataLoader

from fishdvc.dataset.collate import Batch
from fishdvc.dataset.loader import PlannedBatches, ResumableLoader
from fishdvc.dataset.sentence_set import SentenceSet, read_sentences
from fishdvc.dataset.sequences import (
    draw_texts,
    pack_sentences,
    plan_batches,
    plan_ordered_batches,
)
from fishdvc.errors import DatasetError, list_problems
from fishdvc.text.tokenizer import Tokenizer


class SentenceDataModule(lightning.LightningDataModule):
    """Batches of packed training sentences, and of single validation sentences.

    In each epoch every training sentence is seen once, whole, among others of its speaker, in an
    order drawn from seed and epoch. Validation sentences stand alone, never shuffled. Sentences
    longer than ``max_length`` are left out and named by ``too_long_*``.

    Needs a trainer with ``reload_dataloaders_every_n_epochs=1`` (a new plan for each epoch) and
    ``use_distributed_sampler=False`` (each rank's plan is its own already). Without a trainer it
    serves epoch 0 of a single process.

    Args:
        train_shards: Folder of shards to train on.
        val_shards: Folder of held-out shards.
        tokenizer: The base model's.
        num_codebooks: The number of codebooks of the model.
        codebook_size: Codes must be below it.
        batch_size: Most sequences of a batch, on each device.
        max_length: Most tokens of a sequence.
        accumulate_grad_batches: Batches to an optimizer step. An epoch has whole steps only, for
            Lightning would end it with a smaller one, and count validations out of step.
        seed: Of all draws; non-negative.
    """

    def __init__(
        self,
        train_shards: str | Path,
        val_shards: str | Path,
        tokenizer: Tokenizer,
        *,
        num_codebooks: int,
        codebook_size: int,
        batch_size: int,
        max_length: int,
        accumulate_grad_batches: int = 1,
        seed: int,
    ) -> None:
        super().__init__()
        self.train_shards = Path(train_shards)
        self.val_shards = Path(val_shards)
        self.tokenizer = tokenizer
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        self.batch_size = batch_size
        self.max_length = max_length
        self.accumulate_grad_batches = accumulate_grad_batches
        self.seed = seed

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (Lightning's signature)
        """Read both sets, so that all problems show before training begins.

        Raises:
            DatasetError: Shards are missing or damaged, hold unusable sentences, or none that is
                short enough.
        """
        for shards, names, sentences in (
            (self.train_shards, self.too_long_train_sentences, self._train_set),
            (self.val_shards, self.too_long_val_sentences, self._val_set),
        ):
            if len(names) == len(sentences.names):
                summary = f"{shards}: every sentence is too long; raise max_length"
                raise DatasetError(list_problems(summary, names))

    @cached_property
    def _train_set(self) -> SentenceSet:
        return self._read(self.train_shards)

    @cached_property
    def _val_set(self) -> SentenceSet:
        return self._read(self.val_shards)

    def _read(self, shards: Path) -> SentenceSet:
        return read_sentences(
            shards,
            self.tokenizer,
            num_codebooks=self.num_codebooks,
            codebook_size=self.codebook_size,
        )

    @property
    def num_train_sentences(self) -> int:
        """Number of sentences that an epoch holds."""
        return len(self._train_set.sentences) - len(self.too_long_train_sentences)

    @property
    def num_train_tokens(self) -> int:
        """Number of tokens that an epoch holds, each sentence with its longest text."""
        return sum(length for length in self._train_set.num_tokens if length <= self.max_length)

    @property
    def num_val_sentences(self) -> int:
        """Number of sentences to validate on."""
        return len(self._val_set.sentences) - len(self.too_long_val_sentences)

    @property
    def too_long_train_sentences(self) -> tuple[str, ...]:
        """Training sentences left out: speaker, place, text and length of each."""
        return self._too_long(self._train_set)

    @property
    def too_long_val_sentences(self) -> tuple[str, ...]:
        """Validation sentences left out: speaker, place, text and length of each."""
        return self._too_long(self._val_set)

    def _too_long(self, sentences: SentenceSet) -> tuple[str, ...]:
        return tuple(
            f"{name}: at most {self.max_length} tokens, got {length}"
            for name, length in zip(sentences.names, sentences.num_tokens, strict=True)
            if length > self.max_length
        )

    def num_train_batches(self, epoch: int, num_ranks: int = 1) -> int:
        """Number of batches that each of ``num_ranks`` processes has in an epoch."""
        return len(self._train_plan(epoch, num_ranks)[0])

    def num_sentences_seen(self, num_batches: int, num_ranks: int = 1) -> int:
        """Number of training sentences in the first batches of training, of all ranks together."""
        plan = self._train_plan(0, num_ranks)
        if num_batches >= len(plan[0]):
            return self.num_train_sentences
        seen = {i for batches in plan for batch in batches[:num_batches] for s in batch for i in s}
        return len(seen)

    def train_dataloader(self) -> ResumableLoader:
        """Make the loader of the trainer's current epoch, of this rank's share."""
        trainer = self.trainer
        epoch = trainer.current_epoch if trainer else 0
        rank, num_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sentences = self._train_set.sentences
        batches = PlannedBatches(
            sentences,
            draw_texts([len(s.ids) for s in sentences], seed=self.seed, epoch=epoch),
            self._train_plan(epoch, num_ranks)[rank],
            self.tokenizer.end_of_text_id,
        )
        return ResumableLoader(batches, epoch=epoch)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Make the loader of all validation sentences, from short to long, with the first text.

        On several ranks some sentences may be used twice, so that all have as many batches.
        """
        trainer = self.trainer
        rank, num_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        num_tokens = self._val_set.num_tokens
        fitting = [i for i, length in enumerate(num_tokens) if length <= self.max_length]
        plan = plan_ordered_batches(
            [num_tokens[i] for i in fitting], batch_size=self.batch_size, num_ranks=num_ranks
        )
        batches = PlannedBatches(
            self._val_set.sentences,
            [0] * len(num_tokens),
            [[[fitting[i]] for i in batch] for batch in plan[rank]],
            self.tokenizer.end_of_text_id,
        )
        return DataLoader(batches, batch_size=None, shuffle=False)

    def _train_plan(self, epoch: int, num_ranks: int) -> list[list[list[tuple[int, ...]]]]:
        """Plan an epoch: ``plan[rank][step]`` is a batch of sequences of sentences."""
        sentences = self._train_set
        sequences = pack_sentences(
            sentences.num_tokens,
            sentences.speakers,
            max_length=self.max_length,
            seed=self.seed,
            epoch=epoch,
        ).sequences
        # The batches of one optimizer step are shared out like those of one step of more ranks.
        accumulated = self.accumulate_grad_batches
        plan = plan_batches(
            [sum(sentences.num_tokens[i] for i in sequence) for sequence in sequences],
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
