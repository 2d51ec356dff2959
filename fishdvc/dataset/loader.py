"""The batches of one epoch, and a loader that can resume within the epoch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import TokenizedSentence, training_example
from fishdvc.errors import DatasetError


class PlannedBatches:
    """A sequence of batches, each of which is made when it is indexed.

    Args:
        sentences: All sentences.
        text_indices: Index of the text to use, for each sentence.
        batches: ``batches[i][j]``: indices of the sentences of sequence ``j`` in batch ``i``.
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
        sequences = []
        for sequence in self.batches[index]:
            examples = [training_example(self.sentences[i], self.text_indices[i]) for i in sequence]
            tokens, labels = (np.concatenate(part, axis=1) for part in zip(*examples, strict=True))
            sequences.append((tokens, labels))
        return collate_sequences(sequences, padding_id=self.padding_id)


class ResumableLoader:
    """Iterates over the batches of one epoch, from the first or from where a run was interrupted.

    Lightning stores ``state_dict`` in its checkpoints and passes it to ``load_state_dict`` before
    the first batch of a resumed epoch. The length is always that of the whole epoch, because
    Lightning counts batches from the beginning of the epoch.

    Args:
        batches: The batches of the epoch.
        epoch: Number of the epoch.
    """

    def __init__(self, batches: PlannedBatches, *, epoch: int) -> None:
        self._batches = batches
        self._epoch = epoch
        self._first = 0
        self._num_yielded = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        first, self._first = self._first, 0
        for index in range(first, len(self)):
            self._num_yielded = index + 1
            yield self._batches[index]

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, its number of batches and the number of batches yielded so far."""
        return {
            "epoch": self._epoch,
            "num_batches": len(self),
            "num_yielded": self._num_yielded,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the batches that were yielded. The state of another epoch is ignored.

        Raises:
            DatasetError: The epoch had another number of batches.
        """
        if state_dict["epoch"] != self._epoch:
            return
        if state_dict["num_batches"] != len(self):
            raise DatasetError(
                f"cannot resume epoch {self._epoch}: expected {state_dict['num_batches']} batches "
                f"as in the interrupted run, got {len(self)}; resume with the same shards, number "
                "of devices and params, or delete .fishdvc_cache/train_lora to start again"
            )
        self._first = self._num_yielded = state_dict["num_yielded"]
