"""The dual-AR model: from tokens and codes to logits of the next token and its codes.

A slow transformer walks along the sequence; at each position a fast one walks over the codebooks
of the next frame. This module knows which ids are semantic tokens, not how text becomes ids, nor
anything of losses, sampling or adapters. The heads are separate methods so that training and
generation run them only where something is asked of them. Every weight is used by calling its
module, because an adapter may stand in the module's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fishdvc.model.config import DualARConfig
from fishdvc.model.kv_cache import KVCache
from fishdvc.model.layers import (
    Attention,
    FeedForward,
    RMSNorm,
    TransformerBlock,
    Unpadding,
    rotary_table,
)


@dataclass(frozen=True)
class DualAROutput:
    """Logits at each position for what comes next."""

    token_logits: Tensor
    """Of the next token, ``(batch, tokens, vocab_size)``."""
    codebook_logits: Tensor
    """Of the next frame's codes, ``(batch, tokens, num_codebooks, codebook_size)``; 0 where the
    codes 0..num_codebooks - 2 of the next position are all 0 (past the end counts as 0)."""


def next_frames(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Find the frame that each position is to predict.

    Args:
        inputs: ``(batch, 1 + num_codebooks, tokens)``, ids in row 0.

    Returns:
        The codes of the next position, ``(batch, tokens, num_codebooks)``, 0 past the end; and
        where they are a frame, ``(batch, tokens)``: where the codes that the fast transformer
        reads, all but the last codebook's, are not all 0. (0 is a code and the absence of codes,
        so this takes a true frame of zeros for none; the reference implementation does too.)
    """
    codes = nn.functional.pad(inputs[:, 1:, 1:], (0, 1)).transpose(1, 2)
    return codes, (codes[:, :, :-1] != 0).any(dim=-1)


class DualAR(nn.Module):
    """The slow and the fast transformer of fish-speech 1.5 (Liao et al., arXiv:2411.01156).

    Attribute names are the checkpoint's.

    Args:
        config: The sizes.
        semantic_begin_id: Id of the semantic token of code 0; the others follow.
        num_semantic_tokens: How many there are.
        gradient_checkpointing: Recompute the blocks in the backward pass instead of keeping what
            they computed; slower, and needs far less memory.
    """

    slow_rotary: Tensor
    fast_rotary: Tensor

    def __init__(
        self,
        config: DualARConfig,
        *,
        semantic_begin_id: int,
        num_semantic_tokens: int,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.semantic_begin_id = semantic_begin_id
        self.num_semantic_tokens = num_semantic_tokens
        self.gradient_checkpointing = gradient_checkpointing

        c = config
        self.embeddings = nn.Embedding(c.vocab_size, c.dim)
        self.codebook_embeddings = nn.Embedding(c.num_codebooks * c.codebook_size, c.dim)
        self.layers = nn.ModuleList(
            TransformerBlock(
                Attention(c.dim, c.n_head, c.n_local_heads, qkv_bias=c.attention_qkv_bias),
                FeedForward(c.dim, c.intermediate_size),
                RMSNorm(c.dim, c.norm_eps),
                RMSNorm(c.dim, c.norm_eps),
            )
            for _ in range(c.n_layer)
        )
        self.norm = RMSNorm(c.dim, c.norm_eps)
        if not c.tie_word_embeddings:
            self.output = nn.Linear(c.dim, c.vocab_size, bias=False)

        self.fast_embeddings = nn.Embedding(c.codebook_size, c.fast_dim)
        self.fast_layers = nn.ModuleList(
            TransformerBlock(
                Attention(
                    c.fast_dim,
                    c.fast_n_head,
                    c.fast_n_local_heads,
                    qkv_bias=c.fast_attention_qkv_bias,
                ),
                FeedForward(c.fast_dim, c.fast_intermediate_size),
                RMSNorm(c.fast_dim, c.norm_eps),
                RMSNorm(c.fast_dim, c.norm_eps),
            )
            for _ in range(c.n_fast_layer)
        )
        self.fast_norm = RMSNorm(c.fast_dim, c.norm_eps)
        self.fast_output = nn.Linear(c.fast_dim, c.codebook_size, bias=False)

        slow_rotary = rotary_table(c.max_seq_len, c.head_dim, c.rope_base)
        fast_rotary = rotary_table(c.num_codebooks, c.fast_head_dim, c.rope_base)
        self.register_buffer("slow_rotary", slow_rotary, persistent=False)
        self.register_buffer("fast_rotary", fast_rotary, persistent=False)

    def forward(self, inputs: Tensor, padding_mask: Tensor | None = None) -> DualAROutput:
        """Compute all logits, as the reference implementation does.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``: ids in row 0, the codes of semantic
                tokens below, 0 below other tokens.
            padding_mask: ``(batch, tokens)``, True at padding, which must be on the right. The
                logits at padding mean nothing.

        Returns:
            The logits of the next token and of its codes.
        """
        hidden = self.hidden_states(inputs, padding_mask)
        codes, is_frame = next_frames(inputs)
        c = self.config
        codebook_logits = hidden.new_zeros(
            *is_frame.shape, c.num_codebooks, c.codebook_size
        ).index_put((is_frame,), self.codebook_logits(hidden[is_frame], codes[is_frame]))
        return DualAROutput(self.token_logits(hidden), codebook_logits)

    def embed(self, inputs: Tensor) -> Tensor:
        """Add the embeddings of the codes to those of the semantic tokens they belong to.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``.

        Returns:
            ``(batch, tokens, dim)``.
        """
        ids = inputs[:, 0]
        first_rows = torch.arange(self.config.num_codebooks, device=inputs.device).unsqueeze(1)
        rows = inputs[:, 1:] + first_rows * self.config.codebook_size
        of_codes = self.codebook_embeddings(rows).sum(dim=1)
        is_semantic = (ids >= self.semantic_begin_id) & (
            ids < self.semantic_begin_id + self.num_semantic_tokens
        )
        embedded: Tensor = self.embeddings(ids) + of_codes * is_semantic.unsqueeze(-1)
        return embedded

    def hidden_states(
        self,
        inputs: Tensor,
        padding_mask: Tensor | None = None,
        caches: Sequence[KVCache] | None = None,
    ) -> Tensor:
        """Run the slow transformer up to, not including, its last norm.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``.
            padding_mask: ``(batch, tokens)``, True at padding, which must be on the right.
            caches: One per layer; the inputs then follow the tokens in them.

        Returns:
            ``(batch, tokens, dim)``, 0 at padding.

        Raises:
            ValueError: The sequence, with the cached tokens, is longer than ``max_seq_len``.
        """
        num_cached = caches[0].num_tokens if caches else 0
        end = num_cached + inputs.shape[-1]
        if end > self.config.max_seq_len:
            raise ValueError(
                f"inputs: at most max_seq_len = {self.config.max_seq_len} tokens, got {end}"
            )
        unpadding = None if padding_mask is None else Unpadding.of(padding_mask)
        x = self.embed(inputs)
        if unpadding is not None:
            x = unpadding.remove(x)
        rotary = self.slow_rotary[num_cached:end]
        if caches and caches[0].num_empty is not None:
            # What stands at one place is a different position in each sequence.
            places = torch.arange(num_cached, end, device=inputs.device)
            rotary = self.slow_rotary[places - caches[0].num_empty.unsqueeze(1)]
        x = self._run(self.layers, x, rotary, unpadding, caches)
        return x if unpadding is None else unpadding.restore(x)

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Score the next token.

        Args:
            hidden: Hidden states of the slow transformer, ``(..., dim)``.

        Returns:
            ``(..., vocab_size)``.
        """
        normed = self.norm(hidden)
        if self.config.tie_word_embeddings:
            # The one weight read past its module: no module maps back from embeddings, and
            # adapters on tied embeddings are refused.
            return nn.functional.linear(normed, self.embeddings.weight.to(normed.dtype))
        logits: Tensor = self.output(normed)
        return logits

    def codebook_logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Score the codes of a frame, each given those before it.

        Args:
            hidden: Hidden states of the slow transformer before the frames, ``(frames, dim)``.
            codes: The frames, ``(frames, num_codebooks)``; the last codebook is not read.

        Returns:
            ``(frames, num_codebooks, codebook_size)``; place k scores codebook k.
        """
        embedded = self.fast_embeddings(codes[:, :-1])
        return self.fast_logits(torch.cat((hidden.unsqueeze(1), embedded), dim=1))

    def fast_logits(self, x: Tensor, caches: Sequence[KVCache] | None = None) -> Tensor:
        """Run the fast transformer.

        Args:
            x: Place 0 is a hidden state of the slow transformer, place k the fast embedding of
                code k - 1, ``(frames, places, dim)``.
            caches: One per layer; the places then follow those in them.

        Returns:
            ``(frames, places, codebook_size)``.
        """
        num_cached = caches[0].num_tokens if caches else 0
        rotary = self.fast_rotary[num_cached : num_cached + x.shape[1]]
        logits: Tensor = self.fast_output(
            self.fast_norm(self._run(self.fast_layers, x, rotary, None, caches))
        )
        return logits

    def _run(
        self,
        layers: nn.ModuleList,
        x: Tensor,
        rotary: Tensor,
        unpadding: Unpadding | None,
        caches: Sequence[KVCache] | None,
    ) -> Tensor:
        for i, layer in enumerate(layers):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotary, unpadding, use_reentrant=False)
            else:
                x = layer(x, rotary, unpadding, caches[i] if caches else None)
        return x
