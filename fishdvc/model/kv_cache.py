"""Cache of the keys and values of one attention layer."""

from collections.abc import Sequence

import torch
from torch import Tensor


class KVCache:
    """Keys and values of the tokens so far, with memory for a fixed number of tokens.

    The first ``append`` allocates the memory, with the shape, type and device of its tensors.
    Attention reads only the filled part, so the time of a step depends on the tokens so far.

    Sequences of different lengths in one batch are padded on the left.

    Args:
        capacity: Largest number of tokens.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.num_tokens = 0
        self.left_padding: Tensor | None = None
        """Padding tokens before each sequence, ``(batch,)``; None without padding."""
        self._memory: Tensor | None = None
        """Keys and values, ``(2, batch, heads, capacity, head_dim)``."""

    @classmethod
    def join(cls, caches: Sequence["KVCache"], num_more: int) -> "KVCache":
        """Join filled caches of one layer into a batch, padded on the left.

        Args:
            caches: One for each sequence, each with a batch of one and without padding.
            num_more: Number of tokens that will be appended.
        """
        longest = max(cache.num_tokens for cache in caches)
        joined = cls(longest + num_more)
        first = caches[0]._filled()
        _, _, heads, _, head_dim = first.shape
        memory = first.new_zeros(2, len(caches), heads, joined.capacity, head_dim)
        for row, cache in enumerate(caches):
            memory[:, row, :, longest - cache.num_tokens : longest] = cache._filled()[:, 0]
        joined._memory, joined.num_tokens = memory, longest
        padding = [longest - cache.num_tokens for cache in caches]
        if any(padding):
            joined.left_padding = torch.tensor(padding, device=first.device)
        return joined

    def keep(self, sequences: Tensor) -> None:
        """Remove all sequences except those with the given row numbers, ``(kept,)``."""
        if self._memory is not None:
            self._memory = self._memory[:, sequences]
        if self.left_padding is not None:
            self.left_padding = self.left_padding[sequences]

    def mask(self) -> Tensor | None:
        """Return where tokens are, ``(batch, 1, 1, num_tokens)``; None without padding."""
        if self.left_padding is None:
            return None
        places = torch.arange(self.num_tokens, device=self.left_padding.device)
        return (places >= self.left_padding.unsqueeze(1))[:, None, None]

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens and return all keys and values so far.

        Args:
            keys: ``(batch, heads, new tokens, head_dim)``.
            values: ``(batch, heads, new tokens, head_dim)``.

        Returns:
            Views of keys and values, ``(batch, heads, num_tokens, head_dim)``.

        Raises:
            ValueError: There are more tokens than ``capacity``.
        """
        batch, heads, num_new, head_dim = keys.shape
        end = self.num_tokens + num_new
        if end > self.capacity:
            raise ValueError(f"KV cache overflow: {end} > {self.capacity}")
        if self._memory is None:
            self._memory = keys.new_empty(2, batch, heads, self.capacity, head_dim)
        self._memory[0, :, :, self.num_tokens : end] = keys
        self._memory[1, :, :, self.num_tokens : end] = values
        self.num_tokens = end
        all_keys, all_values = self._filled()
        return all_keys, all_values

    def _filled(self) -> Tensor:
        assert self._memory is not None
        return self._memory[:, :, :, : self.num_tokens]
