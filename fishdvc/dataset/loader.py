"""The batches of one epoch as a data loader that can start in their midst.

Knows a plan, but not how it was made, and nothing of shards or ranks.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import TokenizedSentence, training_example
from fishdvc.errors import DatasetError


class PlannedBatches(Dataset[Batch]):
    """Makes the batches of a plan when they are asked for.

    Args:
        sentences: All sentences.
        text_indices: Which of its texts to use, for each sentence.
        batches: The sequences of each batch, each the sentences it joins.
        padding_id: Id of ``<|end_of_text|>``.
    """

    def __init__(
        self,
        sentences: Sequence[TokenizedSentence],
        text_indices: Sequence[int],
        batches: Sequence[Sequence[Sequence[int]]],
        padding_id: int,
    ) -> None:
        self.sentences = sentences
        self.text_indices = text_indices
        self.batches = batches
        self.padding_id = padding_id

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        """Make one batch."""
        sequences = []
        for sequence in self.batches[index]:
            examples = [training_example(self.sentences[i], self.text_indices[i]) for i in sequence]
            tokens, labels = (np.concatenate(part, axis=1) for part in zip(*examples, strict=True))
            sequences.append((tokens, labels))
        return collate_sequences(sequences, padding_id=self.padding_id)


class ResumableLoader(DataLoader[Batch]):
    """Yields the batches of one epoch in their order, from the first or from where a run stopped.

    Lightning stores ``state_dict`` in its checkpoints, and before the first batch of a resumed
    epoch gives it back to ``load_state_dict``. The length is that of the whole epoch, for Lightning
    counts batches from the epoch's beginning.

    Args:
        batches: The batches of the epoch.
        epoch: Its number.
    """

    def __init__(self, batches: PlannedBatches, *, epoch: int) -> None:
        self._order = _Order(len(batches))
        self._num_yielded = 0
        self._epoch = epoch
        super().__init__(batches, batch_size=None, sampler=self._order)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator will do
        self._num_yielded = self._order.first
        for batch in super().__iter__():
            # Counted here, not in the sampler: workers run ahead of what was yielded.
            self._num_yielded += 1
            yield batch
        self._order.first = 0

    def state_dict(self) -> dict[str, Any]:
        """Tell how many batches of which epoch have been yielded."""
        return {
            "epoch": self._epoch,
            "num_batches": len(self._order),
            "num_yielded": self._num_yielded,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start after the batches that were yielded; the state of another epoch changes nothing.

        Raises:
            DatasetError: The epoch had another number of batches, so the data are not the same.
        """
        if state_dict["epoch"] != self._epoch:
            return
        if state_dict["num_batches"] != len(self._order):
            raise DatasetError(
                f"resuming epoch {self._epoch}: {state_dict['num_batches']} batches as in the "
                f"interrupted run, got {len(self._order)}; resume with the same shards, number of "
                "devices and params, or start anew"
            )
        self._order.first = self._num_yielded = state_dict["num_yielded"]


class _Order(Sampler[int]):
    """The numbers of the batches, from ``first`` on."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.first = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.num_batches))
