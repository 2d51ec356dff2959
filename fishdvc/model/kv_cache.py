"""Caches of the keys and values of attention layers, for generation."""

from collections.abc import Sequence

import torch
from torch import Tensor


class KVCache:
    """Keys and values of the tokens so far, equally many in each sequence of a batch.

    The first ``append`` allocates the memory, with the shape, type and device of its tensors.

    Args:
        capacity: Largest number of tokens.
    """

    mask: Tensor | None = None
    """Added to the scores of one new token, ``(batch, 1, 1, slots)``; None: attend to all."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.num_tokens = 0
        self._memory: Tensor | None = None
        """Keys and values, ``(2, batch, heads, capacity, head_dim)``."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens and return all keys and values so far.

        Args:
            keys: ``(batch, heads, new tokens, head_dim)``.
            values: ``(batch, heads, new tokens, head_dim)``.

        Returns:
            Views of keys and values, ``(batch, heads, tokens, head_dim)``.
        """
        batch, heads, num_new, head_dim = keys.shape
        end = self.num_tokens + num_new
        assert end <= self.capacity
        if self._memory is None:
            self._memory = keys.new_empty(2, batch, heads, self.capacity, head_dim)
        self._memory[0, :, :, self.num_tokens : end] = keys
        self._memory[1, :, :, self.num_tokens : end] = values
        self.num_tokens = end
        all_keys, all_values = self.filled()
        return all_keys, all_values

    def filled(self) -> Tensor:
        """Return keys and values so far, ``(2, batch, heads, num_tokens, head_dim)``."""
        assert self._memory is not None
        return self._memory[:, :, :, : self.num_tokens]


class BatchCache:
    """Keys and values of a batch of sequences of different lengths, in memory that never moves.

    Each sequence has a row of ``capacity`` slots, one per token. The slot of its next token is in
    ``positions``, a tensor, so that a step has the same shapes and addresses at every position and
    can be captured as a CUDA graph.

    Args:
        num_layers: Number of attention layers.
        num_rows: Largest number of sequences.
        num_heads: Key/value heads.
        capacity: Largest number of tokens of a sequence.
        head_dim: Values per head.
        dtype: Type of the memory.
        device: Device of the memory.

    Attributes:
        positions: Slot of the next token of each sequence, int64 ``(num_rows,)``.
    """

    def __init__(
        self,
        num_layers: int,
        num_rows: int,
        num_heads: int,
        capacity: int,
        head_dim: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # Zeros, because attention multiplies the values of unused slots by 0, and 0 * NaN is NaN.
        self._memory = torch.zeros(
            (num_layers, 2, num_rows, num_heads, capacity, head_dim), dtype=dtype, device=device
        )
        self.positions = torch.zeros(num_rows, dtype=torch.int64, device=device)

    def fill(self, rows: Tensor, caches: Sequence[KVCache], lengths: Tensor) -> None:
        """Start sequences with the tokens of their prompts.

        Args:
            rows: Row of each sequence, ``(sequences,)``.
            caches: One for each layer, with a batch of these sequences, padded on the right.
            lengths: Number of tokens of each prompt, ``(sequences,)``.
        """
        for memory, cache in zip(self._memory, caches, strict=True):
            memory[:, rows, :, : cache.num_tokens] = cache.filled()
        self.positions[rows] = lengths

    def copy_rows(self, sources: Tensor, destinations: Tensor) -> None:
        """Copy sequences to other rows, ``(sequences,)`` each."""
        self._memory[:, :, destinations] = self._memory[:, :, sources]
        self.positions[destinations] = self.positions[sources]

    def layers(self, num_rows: int, num_slots: int) -> list["BatchLayerCache"]:
        """Return the cache of each layer for one more token of the first ``num_rows`` sequences.

        Args:
            num_rows: Number of sequences.
            num_slots: Slots to attend to, more than every position of these sequences.
        """
        positions = self.positions[:num_rows]
        rows = torch.arange(num_rows, device=positions.device)
        slots = torch.arange(num_slots, device=positions.device)
        hidden = slots > positions.unsqueeze(1)
        mask = self._memory.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)[:, None, None]
        return [
            BatchLayerCache(memory[:, :num_rows, :, :num_slots], rows, positions, mask)
            for memory in self._memory
        ]


class BatchLayerCache:
    """One layer of a ``BatchCache``, for one more token of each sequence."""

    def __init__(self, memory: Tensor, rows: Tensor, positions: Tensor, mask: Tensor) -> None:
        self._memory, self._rows, self._positions = memory, rows, positions
        self.mask: Tensor | None = mask

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token to each sequence, as ``KVCache.append``."""
        all_keys, all_values = self._memory
        all_keys[self._rows, :, self._positions] = keys[:, :, 0]
        all_values[self._rows, :, self._positions] = values[:, :, 0]
        return all_keys, all_values


LayerCache = KVCache | BatchLayerCache
