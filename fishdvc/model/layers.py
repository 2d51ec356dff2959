"""The parts of a pre-norm transformer: norm, rotary positions, attention, feed-forward, block.

The blocks receive their sizes one by one and know nothing of configs, tokens or codebooks.
Attribute names are the checkpoint's.

Shapes: batch, tokens, dim as usual; a *packed* tensor holds only the tokens that are not padding,
``(packed tokens, dim)``, so that everything but attention skips padding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fishdvc.model.kv_cache import KVCache


@dataclass(frozen=True)
class Unpadding:
    """Where the tokens of a padded batch are, so that padding can be dropped and put back."""

    positions: Tensor
    """Places of the packed tokens in the flattened batch, ``(packed tokens,)``."""
    batch: int
    """Sequences."""
    tokens: int
    """Tokens per sequence, padding included."""

    @classmethod
    def of(cls, padding_mask: Tensor) -> "Unpadding":
        """Find the tokens that are not padding.

        Args:
            padding_mask: ``(batch, tokens)``, True at padding.

        Returns:
            The unpadding. On a GPU this waits for the mask.
        """
        batch, tokens = padding_mask.shape
        return cls((~padding_mask).flatten().nonzero().squeeze(1), batch, tokens)

    def remove(self, padded: Tensor) -> Tensor:
        """Drop padding: ``(batch, tokens, dim)`` to ``(packed tokens, dim)``."""
        return padded.flatten(0, 1).index_select(0, self.positions)

    def restore(self, packed: Tensor) -> Tensor:
        """Put padding back as zeros: ``(packed tokens, dim)`` to ``(batch, tokens, dim)``."""
        flat = packed.new_zeros(self.batch * self.tokens, packed.shape[-1])
        padded = flat.index_copy(0, self.positions, packed)
        return padded.view(self.batch, self.tokens, packed.shape[-1])


def rotary_table(num_positions: int, head_dim: int, base: float) -> Tensor:
    """Compute cosines and sines of the rotary angles, rounded to bfloat16.

    The reference implementation stores its table in bfloat16 and the published weights were
    trained with it: an exact table gives other logits.

    Args:
        num_positions: Positions from 0 on.
        head_dim: Values per head, even.
        base: Base of the geometric series of angles.

    Returns:
        float32 ``(num_positions, head_dim / 2, 2)``, cosine then sine.
    """
    # On the CPU whatever the default device: a model planned on "meta" gets its weights from a
    # checkpoint, but this table from here.
    exponents = torch.arange(0, head_dim, 2, device="cpu").float() / head_dim
    angles = torch.outer(torch.arange(num_positions, device="cpu").float(), 1.0 / base**exponents)
    return torch.stack((angles.cos(), angles.sin()), dim=-1).bfloat16().float()


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn neighbouring pairs of values by their position's angles, in float32.

    Rotary position embedding (Su et al., RoFormer, arXiv:2104.09864) on pairs ``(2i, 2i + 1)``.

    Args:
        x: ``(batch, tokens, heads, head_dim)``.
        table: Rows of ``rotary_table`` for these tokens, ``(tokens, head_dim / 2, 2)``, or
            for those of each sequence, ``(batch, tokens, head_dim / 2, 2)``.

    Returns:
        As ``x``, in its type.
    """
    even, odd = x.float().reshape(*x.shape[:-1], x.shape[-1] // 2, 2).unbind(-1)
    cos, sin = table.float().unsqueeze(-3).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return turned.flatten(-2).type_as(x)


class RMSNorm(nn.Module):
    """Root mean square layer normalization (Zhang and Sennrich, arXiv:1910.07467).

    The norm is taken in float32 and rounded to the input's type before the weight is applied.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension of ``(..., dim)``."""
        normed = nn.functional.rms_norm(x.float(), (x.shape[-1],), eps=self.eps)
        return normed.type_as(x) * self.weight


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al., arXiv:2305.13245) with rotary positions.

    ``wqkv`` holds the rows of all queries, then of all keys, then of all values.
    """

    def __init__(self, dim: int, num_heads: int, num_kv_heads: int, *, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads
        self.head_dim = dim // num_heads
        self.wqkv = nn.Linear(dim, (num_heads + 2 * num_kv_heads) * self.head_dim, bias=qkv_bias)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        unpadding: Unpadding | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Let each token look at itself and all before it.

        Padding must be on the right, where no token that counts looks: then causality is the
        whole mask.

        Args:
            x: ``(batch, tokens, dim)``, or packed ``(packed tokens, dim)``.
            rotary: Rows of ``rotary_table`` for the tokens, as ``rotate`` takes them.
            unpadding: How ``x`` is packed.
            cache: Keys and values of earlier tokens. With any in it, ``x`` must be one token.

        Returns:
            As ``x``.
        """
        qkv = self.wqkv(x)
        if unpadding is not None:
            qkv = unpadding.restore(qkv)
        num_rotated = self.num_heads + self.num_kv_heads
        qkv = qkv.view(*qkv.shape[:-1], num_rotated + self.num_kv_heads, self.head_dim)
        rotated = rotate(qkv[:, :, :num_rotated], rotary)
        # Heads go before tokens.
        queries = rotated[:, :, : self.num_heads].transpose(1, 2)
        keys = rotated[:, :, self.num_heads :].transpose(1, 2)
        values = qkv[:, :, num_rotated:].transpose(1, 2)
        if cache is not None:
            keys, values = cache.append(keys, values)

        num_tokens = queries.shape[2]
        assert num_tokens in (1, keys.shape[2]), "a filled cache takes one token at a time"
        if num_tokens == 1:
            # The queries that share a key/value head stand side by side as if they were tokens:
            # nothing is repeated, and the newest token may look at everything.
            grouped = queries.reshape(len(x), self.num_kv_heads, -1, self.head_dim)
            mask = None if cache is None else cache.mask()
            mixed = nn.functional.scaled_dot_product_attention(grouped, keys, values, mask)
            mixed = mixed.reshape(queries.shape)
        else:
            mixed = nn.functional.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, enable_gqa=True
            )
        mixed = mixed.transpose(1, 2).flatten(2)
        if unpadding is not None:
            mixed = unpadding.remove(mixed)
        output: Tensor = self.wo(mixed)
        return output


class FeedForward(nn.Module):
    """Gated feed-forward, SwiGLU (Shazeer, arXiv:2002.05202): ``w1`` gates ``w3``."""

    def __init__(self, dim: int, intermediate_size: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, intermediate_size, bias=False)
        self.w3 = nn.Linear(dim, intermediate_size, bias=False)
        self.w2 = nn.Linear(intermediate_size, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform the last dimension of ``(..., dim)``."""
        output: Tensor = self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))
        return output


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then feed-forward, each added to its input."""

    def __init__(
        self,
        attention: Attention,
        feed_forward: FeedForward,
        attention_norm: RMSNorm,
        ffn_norm: RMSNorm,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.ffn_norm = ffn_norm
        self.attention_norm = attention_norm

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        unpadding: Unpadding | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Apply the block; arguments and result as in ``Attention.forward``."""
        x = x + self.attention(self.attention_norm(x), rotary, unpadding, cache)
        output: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return output
