"""Keys and values of tokens already seen, for one attention layer.

Knows only tensors and how many tokens it may hold, not what they mean.
"""

import torch
from torch import Tensor


class KVCache:
    """A growing pair of keys and values with room for a known number of tokens.

    Room is taken at the first append, with the shape, type and device of what is appended, so a
    cache never disagrees with its model. Attention reads the filled part alone: a step costs what
    the sequence has, not what the model could take.
    """

    def __init__(self, capacity: int) -> None:
        """Plan a cache.

        Args:
            capacity: The most tokens it will hold.
        """
        self.capacity = capacity
        self.num_tokens = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens and return all keys and values so far.

        Args:
            keys: ``(batch, heads, new tokens, head_dim)``.
            values: Likewise.

        Returns:
            Views of keys and values, ``(batch, heads, num_tokens, head_dim)``.
        """
        batch, heads, num_new, head_dim = keys.shape
        end = self.num_tokens + num_new
        assert end <= self.capacity, "whoever makes a cache knows how many tokens will come"
        if self._keys is None or self._values is None:
            self._keys = keys.new_empty(batch, heads, self.capacity, head_dim)
            self._values = torch.empty_like(self._keys)
        self._keys[:, :, self.num_tokens : end] = keys
        self._values[:, :, self.num_tokens : end] = values
        self.num_tokens = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def clear(self) -> None:
        """Forget all tokens and keep the room."""
        self.num_tokens = 0
