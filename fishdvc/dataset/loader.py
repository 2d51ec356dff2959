"""The batches of one epoch, from the first or from where a run was interrupted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import (
    IGNORED_LABEL,
    LabelCounts,
    TokenizedSentence,
    training_example,
)


@dataclass(eq=False)
class EpochBatches:
    """Iterates over the batches of one epoch. Each batch is made when it is needed.

    Lightning stores ``state_dict`` in its checkpoints and passes it to ``load_state_dict`` before
    the first batch of a resumed epoch. The length is always that of the whole epoch, because
    Lightning counts batches from the beginning of the epoch.

    Attributes:
        sentences: All sentences.
        text_indices: Index of the text to use, for each sentence.
        batches: ``batches[i][j]``: indices of the sentences of sequence ``j`` in batch ``i``. A
            batch without sequences becomes a batch without labels.
        divisors: ``Batch.divisors`` of each batch. None: its own numbers of labels.
        padding_id: Id of ``<|end_of_text|>``.
        epoch: Number of the epoch.
    """

    sentences: Sequence[TokenizedSentence]
    text_indices: Sequence[int]
    batches: Sequence[Sequence[Sequence[int]]]
    divisors: Sequence[LabelCounts] | None = None
    padding_id: int = field(kw_only=True)
    epoch: int = field(kw_only=True)
    _first: int = field(default=0, init=False)
    _num_yielded: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        first, self._first = self._first, 0
        for index in range(first, len(self)):
            self._num_yielded = index + 1
            divisors = self.divisors[index] if self.divisors else None
            yield self._make(self.batches[index], divisors)

    def _make(self, batch: Sequence[Sequence[int]], divisors: LabelCounts | None) -> Batch:
        sequences = []
        for sequence in batch:
            examples = [training_example(self.sentences[i], self.text_indices[i]) for i in sequence]
            tokens, labels = (np.concatenate(part, axis=1) for part in zip(*examples, strict=True))
            sequences.append((tokens, labels))
        if not sequences:
            unlabelled = np.full((1 + len(self.sentences[0].codes), 2), IGNORED_LABEL)
            sequences.append((np.zeros_like(unlabelled), unlabelled))
        return collate_sequences(sequences, padding_id=self.padding_id, divisors=divisors)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of batches yielded so far."""
        return {"epoch": self.epoch, "num_yielded": self._num_yielded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the batches that were yielded. The state of another epoch is ignored."""
        if state_dict["epoch"] == self.epoch:
            self._first = self._num_yielded = state_dict["num_yielded"]
