"""Layers of a pre-norm transformer. Attribute names are those of the checkpoint.

Shapes are ``(batch, tokens, dim)``, or ``(unpadded tokens, dim)`` for the tokens of a batch that
are not padding. All layers except attention can skip padding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fishdvc.model.kv_cache import LayerCache


@dataclass(frozen=True)
class Unpadding:
    """Positions of the tokens of a padded batch, to remove padding and to restore it."""

    positions: Tensor
    """Indices of the tokens in the flattened batch, ``(unpadded tokens,)``."""
    batch: int
    """Number of sequences."""
    tokens: int
    """Tokens per sequence, padding included."""

    @classmethod
    def of(cls, padding_mask: Tensor) -> "Unpadding":
        """Find the tokens that are not padding. Synchronizes with the GPU.

        Args:
            padding_mask: ``(batch, tokens)``, True at padding.
        """
        batch, tokens = padding_mask.shape
        return cls((~padding_mask).flatten().nonzero().squeeze(1), batch, tokens)

    def remove(self, padded: Tensor) -> Tensor:
        """Remove padding: ``(batch, tokens, dim)`` to ``(unpadded tokens, dim)``."""
        return padded.flatten(0, 1).index_select(0, self.positions)

    def restore(self, unpadded: Tensor) -> Tensor:
        """Restore padding as zeros: ``(unpadded tokens, dim)`` to ``(batch, tokens, dim)``."""
        flat = unpadded.new_zeros(self.batch * self.tokens, unpadded.shape[-1])
        padded = flat.index_copy_(0, self.positions, unpadded)
        return padded.view(self.batch, self.tokens, unpadded.shape[-1])


def rotary_table(num_positions: int, head_dim: int, base: float) -> Tensor:
    """Compute cosines and sines of the rotary angles, rounded to bfloat16.

    The published weights were trained with a table in bfloat16. An exact table gives other logits.

    Args:
        num_positions: Number of positions, from 0.
        head_dim: Values per head, even.
        base: Base of the geometric series of angles.

    Returns:
        float32 ``(num_positions, head_dim / 2, 2)``, cosine then sine.
    """
    # On the CPU, because a model that is built on "meta" gets its weights from a checkpoint, but
    # no checkpoint holds this table.
    exponents = torch.arange(0, head_dim, 2, device="cpu").float() / head_dim
    angles = torch.outer(torch.arange(num_positions, device="cpu").float(), 1.0 / base**exponents)
    return torch.stack((angles.cos(), angles.sin()), dim=-1).bfloat16().float()


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Apply rotary position embedding (Su et al., RoFormer, arXiv:2104.09864) in float32.

    Rotates the pairs of values ``(2i, 2i + 1)``, as the product of two complex numbers.

    Args:
        x: ``(batch, tokens, heads, head_dim)``.
        rotary: Complex numbers of absolute value 1 for the tokens, ``(tokens, head_dim / 2)``, or
            for the tokens of each sequence, ``(batch, tokens, head_dim / 2)``.

    Returns:
        The same shape and type as ``x``.
    """
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], x.shape[-1] // 2, 2))
    return torch.view_as_real(pairs * rotary.unsqueeze(-2)).flatten(-2).type_as(x)


class Linear(nn.Linear):
    """A linear layer that is also fast for 9 to 128 tokens on a CPU, for inference.

    MKL multiplies a large matrix by 16 columns twice as fast as 16 rows by the transposed matrix,
    if the number of columns is a multiple of 8.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transform the last dimension of ``(..., in_features)``."""
        if not _are_columns_faster(x):
            return super().forward(x)
        rows = x.flatten(0, -2)
        columns = nn.functional.pad(rows, (0, 0, 0, -len(rows) % 8)).T
        product = (self.weight @ columns)[:, : len(rows)].T.contiguous()
        if self.bias is not None:
            product += self.bias
        return product.view(*x.shape[:-1], -1)


def _are_columns_faster(x: Tensor) -> bool:
    few = 8 < x.numel() // x.shape[-1] <= 128
    return few and x.device.type == "cpu" and not torch.is_grad_enabled()


def add_linear(residual: Tensor, linear: nn.Module, x: Tensor) -> Tensor:
    """Return ``residual + linear(x)``, for inference without an adapter in one kernel."""
    # A layer of PEFT has another type. float32_by_module converts weights in the layer's call.
    if type(linear) is Linear and not torch.is_grad_enabled():
        weight = linear.weight
        if weight.dtype == x.dtype and not _are_columns_faster(x):
            flat = torch.addmm(residual.flatten(0, -2), x.flatten(0, -2), weight.T)
            return flat.view_as(residual)
    output: Tensor = residual + linear(x)
    return output


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al., arXiv:2305.13245) with rotary positions.

    ``wqkv`` contains the rows of all queries, then of all keys, then of all values.
    """

    def __init__(self, dim: int, num_heads: int, num_kv_heads: int, *, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads
        self.head_dim = dim // num_heads
        self.wqkv = Linear(dim, (num_heads + 2 * num_kv_heads) * self.head_dim, bias=qkv_bias)
        self.wo = Linear(dim, dim, bias=False)

    def forward(
        self,
        x: Tensor,
        residual: Tensor,
        rotary: Tensor,
        unpadding: Unpadding | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Let each token attend to itself and all earlier tokens.

        Padding must be on the right. The causal mask then hides it from all other tokens.

        Args:
            x: ``(batch, tokens, dim)``, or with ``unpadding`` ``(unpadded tokens, dim)``.
            residual: Added to the result; the shape of ``x``.
            rotary: Rotation of the tokens, as in ``rotate``.
            unpadding: Positions of the tokens of ``x`` in the batch.
            cache: Keys and values of earlier tokens. If it is not empty, ``x`` must be one token.

        Returns:
            The same shape as ``x``.
        """
        qkv = self.wqkv(x)
        if unpadding is not None:
            qkv = unpadding.restore(qkv)
        qkv = qkv.unflatten(-1, (-1, self.head_dim))
        num_rotated = self.num_heads + self.num_kv_heads
        # Split, because the gradient of each slice is a whole tensor, and they are added.
        unrotated, values = torch.split(qkv, [num_rotated, self.num_kv_heads], dim=2)
        rotated = rotate(unrotated, rotary)
        heads = torch.split(rotated, [self.num_heads, self.num_kv_heads], dim=2)
        # To (batch, heads, tokens, head_dim).
        queries, keys, values = (x.transpose(1, 2) for x in (*heads, values))
        mask = None
        if cache is not None:
            keys, values = cache.append(keys, values)
            mask = cache.mask
        mixed = attend(queries, keys, values, mask).transpose(1, 2).flatten(2)
        if unpadding is not None:
            mixed = unpadding.remove(mixed)
        return add_linear(residual, self.wo, mixed)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute causal attention with groups of query heads that share a key/value head.

    Args:
        queries: ``(batch, heads, tokens, head_dim)``.
        keys: ``(batch, kv_heads, all tokens, head_dim)``, of all tokens so far.
        values: ``(batch, kv_heads, all tokens, head_dim)``.
        mask: Added to the scores of one token, ``(batch, 1, 1, all tokens)``.

    Returns:
        ``(batch, heads, tokens, head_dim)``.
    """
    num_tokens, num_keys = queries.shape[2], keys.shape[2]
    if num_tokens == 1:
        # The queries of a group are passed as tokens, so that keys and values are not repeated. The
        # last token attends to all others, so no causal mask is needed.
        grouped = queries.reshape(len(queries), keys.shape[1], -1, queries.shape[-1])
        mixed = nn.functional.scaled_dot_product_attention(grouped, keys, values, mask)
        return mixed.reshape(queries.shape)
    assert num_tokens == num_keys, "several new tokens after cached ones need another mask"
    if queries.is_cuda and queries.dtype == torch.float32:
        # In float32, the kernel for grouped heads on CUDA stores a matrix of tokens x tokens.
        group_size = queries.shape[1] // keys.shape[1]
        keys, values = (x.repeat_interleave(group_size, dim=1) for x in (keys, values))
    grouped_heads = keys.shape[1] < queries.shape[1]
    return nn.functional.scaled_dot_product_attention(
        queries, keys, values, is_causal=True, enable_gqa=grouped_heads
    )


class FeedForward(nn.Module):
    """Gated feed-forward layer, SwiGLU (Shazeer, arXiv:2002.05202). ``w1`` gates ``w3``."""

    def __init__(self, dim: int, intermediate_size: int) -> None:
        super().__init__()
        self.w1 = Linear(dim, intermediate_size, bias=False)
        self.w3 = Linear(dim, intermediate_size, bias=False)
        self.w2 = Linear(intermediate_size, dim, bias=False)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Transform the last dimension of ``(..., dim)``, and add ``residual``."""
        return add_linear(residual, self.w2, nn.functional.silu(self.w1(x)) * self.w3(x))


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a norm before it and a residual connection.

    The norms are RMSNorm (Zhang and Sennrich, arXiv:1910.07467). The reference implementation also
    rounds to the input's type before it multiplies by the weight, which matters in bfloat16 only.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int,
        intermediate_size: int,
        *,
        qkv_bias: bool,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads, num_kv_heads, qkv_bias=qkv_bias)
        self.feed_forward = FeedForward(dim, intermediate_size)
        self.ffn_norm = nn.RMSNorm(dim, norm_eps)
        self.attention_norm = nn.RMSNorm(dim, norm_eps)

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        unpadding: Unpadding | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Apply the block. Arguments and result are those of ``Attention.forward``."""
        x = self.attention(self.attention_norm(x), x, rotary, unpadding, cache)
        output: Tensor = self.feed_forward(self.ffn_norm(x), x)
        return output
