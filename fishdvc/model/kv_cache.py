"""Keys and values of tokens already seen, for one attention layer.

Knows only tensors and how many tokens it may hold, not what they mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class KVCache:
    """A growing pair of keys and values with room for a known number of tokens.

    Room is taken at the first append, with the shape, type and device of what is appended, so a
    cache never disagrees with its model. Attention reads the filled part alone: a step costs what
    the sequence has, not what the model could take.

    Sequences of different lengths stand together with their ends aligned; ``num_empty`` says how
    many places before each hold nothing.
    """

    def __init__(self, capacity: int) -> None:
        """Plan a cache.

        Args:
            capacity: The most tokens it will hold.
        """
        self.capacity = capacity
        self.num_tokens = 0
        self.num_empty: Tensor | None = None
        """Empty places before each sequence, ``(batch,)``; None where there are none."""
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    @classmethod
    def join(cls, caches: Sequence["KVCache"], num_more: int) -> "KVCache":
        """Put filled caches of one layer together into one batch, their ends aligned.

        Args:
            caches: One for each sequence, each with a batch of one and no empty places.
            num_more: Tokens that will be appended.
        """
        longest = max(cache.num_tokens for cache in caches)
        joined = cls(longest + num_more)
        first = caches[0]
        assert first._keys is not None, "only filled caches are joined"
        _, heads, _, head_dim = first._keys.shape
        joined._keys = first._keys.new_zeros(len(caches), heads, joined.capacity, head_dim)
        joined._values = torch.zeros_like(joined._keys)
        for row, cache in enumerate(caches):
            assert cache._keys is not None
            assert cache._values is not None
            place = slice(longest - cache.num_tokens, longest)
            joined._keys[row, :, place] = cache._keys[0, :, : cache.num_tokens]
            joined._values[row, :, place] = cache._values[0, :, : cache.num_tokens]
        joined.num_tokens = longest
        num_empty = [longest - cache.num_tokens for cache in caches]
        if any(num_empty):
            joined.num_empty = torch.tensor(num_empty, device=first._keys.device)
        return joined

    def keep(self, sequences: Tensor) -> None:
        """Go on with some of the sequences, by their rows ``(kept,)``."""
        assert self._keys is not None
        assert self._values is not None
        self._keys, self._values = self._keys[sequences], self._values[sequences]
        if self.num_empty is not None:
            self.num_empty = self.num_empty[sequences]

    def mask(self) -> Tensor | None:
        """Where attention may look, ``(batch, 1, 1, num_tokens)``; None: everywhere."""
        if self.num_empty is None:
            return None
        places = torch.arange(self.num_tokens, device=self.num_empty.device)
        return (places >= self.num_empty.unsqueeze(1))[:, None, None]

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
