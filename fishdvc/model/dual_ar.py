"""The dual-AR model, from tokens and codes to logits of the next token and its codes.

A slow transformer runs over the sequence. At each position, a fast transformer runs over the
codebooks of the next frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fishdvc.model.config import DualARConfig
from fishdvc.model.kv_cache import BatchCache, KVCache, LayerCache
from fishdvc.model.layers import Linear, TransformerBlock, Unpadding, rotary_table
from fishdvc.model.recompute import recomputed


@dataclass(frozen=True)
class DualAROutput:
    """Logits at each position."""

    token_logits: Tensor
    """Logits of the next token, ``(batch, tokens, vocab_size)``."""
    codebook_logits: Tensor
    """Logits of the next frame's codes, ``(batch, tokens, num_codebooks, codebook_size)``; 0 where
    the next position is not a frame, see ``next_frames``."""


def next_frames(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the frame that each position predicts.

    0 is a code and also marks the absence of codes. As in the reference implementation, a position
    is a frame if the codes that the fast transformer reads, all but the last codebook's, are not
    all 0.

    Args:
        inputs: ``(batch, 1 + num_codebooks, tokens)``, ids in row 0.

    Returns:
        The codes of the next position, ``(batch, tokens, num_codebooks)``, 0 after the end, and
        whether they are a frame, ``(batch, tokens)``.
    """
    codes = nn.functional.pad(inputs[:, 1:, 1:], (0, 1)).transpose(1, 2)
    return codes, (codes[:, :, :-1] != 0).any(dim=-1)


class DualAR(nn.Module):
    """The slow and the fast transformer of fish-speech 1.5 (Liao et al., arXiv:2411.01156).

    Attribute names are those of the checkpoint. Token logits, codebook logits and hidden states
    are separate methods, so that training and generation compute only what they need. Every weight
    is used by a call of its module, because PEFT replaces modules.

    Args:
        config: Sizes.
        semantic_begin_id: Id of the semantic token of code 0. The ids of the other codes follow.

    Attributes:
        num_checkpointed: Number of blocks whose activations are recomputed in the backward pass,
            the slow ones first. Slower, but needs less memory. 0 by default.
    """

    slow_rotary: Tensor
    fast_rotary: Tensor

    def __init__(self, config: DualARConfig, *, semantic_begin_id: int) -> None:
        super().__init__()
        self.config = c = config
        self.semantic_begin_id = semantic_begin_id
        self.num_checkpointed = 0
        self.embeddings = nn.Embedding(c.vocab_size, c.dim)
        self.codebook_embeddings = nn.Embedding(c.num_codebooks * c.codebook_size, c.dim)
        self.layers = nn.ModuleList(
            TransformerBlock(
                c.dim,
                c.n_head,
                c.n_local_heads,
                c.intermediate_size,
                qkv_bias=c.attention_qkv_bias,
                norm_eps=c.norm_eps,
            )
            for _ in range(c.n_layer)
        )
        self.norm = nn.RMSNorm(c.dim, c.norm_eps)
        if not c.tie_word_embeddings:
            self.output = Linear(c.dim, c.vocab_size, bias=False)

        self.fast_embeddings = nn.Embedding(c.codebook_size, c.fast_dim)
        self.fast_layers = nn.ModuleList(
            TransformerBlock(
                c.fast_dim,
                c.fast_n_head,
                c.fast_n_local_heads,
                c.fast_intermediate_size,
                qkv_bias=c.fast_attention_qkv_bias,
                norm_eps=c.norm_eps,
            )
            for _ in range(c.n_fast_layer)
        )
        self.fast_norm = nn.RMSNorm(c.fast_dim, c.norm_eps)
        self.fast_output = Linear(c.fast_dim, c.codebook_size, bias=False)

        slow_rotary = rotary_table(c.max_seq_len, c.dim // c.n_head, c.rope_base)
        fast_rotary = rotary_table(c.num_codebooks, c.fast_dim // c.fast_n_head, c.rope_base)
        self.register_buffer("slow_rotary", slow_rotary, persistent=False)
        self.register_buffer("fast_rotary", fast_rotary, persistent=False)

    def forward(self, inputs: Tensor, padding_mask: Tensor | None = None) -> DualAROutput:
        """Compute all logits, as the reference implementation does.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``, ids in row 0. The other rows are the
                codes of semantic tokens, and 0 for other tokens.
            padding_mask: ``(batch, tokens)``, True at padding, which must be on the right. The
                logits at padding are undefined.
        """
        unpadding = None if padding_mask is None else Unpadding.of(padding_mask)
        hidden = self.hidden_states(inputs, unpadding)
        codes, is_frame = next_frames(inputs)
        c = self.config
        codebook_logits = hidden.new_zeros(
            *is_frame.shape, c.num_codebooks, c.codebook_size
        ).index_put((is_frame,), self.codebook_logits(hidden[is_frame], codes[is_frame]))
        return DualAROutput(self.token_logits(hidden), codebook_logits)

    def embed(self, inputs: Tensor) -> Tensor:
        """Embed the tokens. A semantic token adds the embeddings of its codes.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``.

        Returns:
            ``(batch, tokens, dim)``.
        """
        ids = inputs[:, 0]
        first_rows = torch.arange(self.config.num_codebooks, device=inputs.device).unsqueeze(1)
        rows = inputs[:, 1:] + first_rows * self.config.codebook_size
        code_embeddings = self.codebook_embeddings(rows).sum(dim=1)
        end_id = self.semantic_begin_id + self.config.codebook_size
        is_semantic = (ids >= self.semantic_begin_id) & (ids < end_id)
        embedded: Tensor = self.embeddings(ids) + code_embeddings * is_semantic.unsqueeze(-1)
        return embedded

    def hidden_states(
        self,
        inputs: Tensor,
        unpadding: Unpadding | None = None,
        caches: Sequence[KVCache] | None = None,
    ) -> Tensor:
        """Run the slow transformer without its last norm.

        Args:
            inputs: ``(batch, 1 + num_codebooks, tokens)``.
            unpadding: Positions of the tokens that are not padding. Padding must be on the right.
            caches: One per layer. The inputs follow the tokens in the caches.

        Returns:
            ``(batch, tokens, dim)``, 0 at padding.
        """
        num_cached = caches[0].num_tokens if caches else 0
        end = num_cached + inputs.shape[-1]
        assert end <= self.config.max_seq_len
        x = self.embed(inputs)
        if unpadding is not None:
            x = unpadding.remove(x)
        rotary = _as_complex(self.slow_rotary[num_cached:end])
        x = self._run(self.layers, x, rotary, unpadding, caches)
        return x if unpadding is None else unpadding.restore(x)

    def next_hidden_states(self, tokens: Tensor, cache: BatchCache, num_slots: int) -> Tensor:
        """Run the slow transformer for one more token of each sequence, without its last norm.

        Shapes do not depend on the positions of the tokens, and no value is read by the host.

        Args:
            tokens: ``(batch, 1 + num_codebooks)``, for the first rows of the cache.
            cache: Earlier tokens of each sequence. Its positions are not changed.
            num_slots: Slots of the cache to attend to, more than every position.

        Returns:
            ``(batch, dim)``.
        """
        rotary = _as_complex(self.slow_rotary[cache.positions[: len(tokens)]]).unsqueeze(1)
        x = self.embed(tokens.unsqueeze(-1))
        caches = cache.layers(len(tokens), num_slots)
        return self._run(self.layers, x, rotary, None, caches).squeeze(1)

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Compute logits of the next token, ``(..., vocab_size)``.

        Args:
            hidden: Hidden states of the slow transformer, ``(..., dim)``.
        """
        normed = self.norm(hidden)
        if self.config.tie_word_embeddings:
            # Adapters on tied embeddings are refused, so the weight may be read directly.
            return nn.functional.linear(normed, self.embeddings.weight.to(normed.dtype))
        logits: Tensor = self.output(normed)
        return logits

    def logits_of(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Compute the logits of some tokens only. The head must not have an adapter of PEFT.

        Args:
            ids: ``(choices,)``.
            hidden: Hidden states of the slow transformer, ``(..., dim)``.

        Returns:
            ``(..., choices)``.
        """
        head = self.embeddings if self.config.tie_word_embeddings else self.output
        return nn.functional.linear(self.norm(hidden), head.weight[ids])

    def codebook_logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Compute logits of the codes of frames, each code given the codes before it.

        Args:
            hidden: Hidden states of the slow transformer before the frames, ``(frames, dim)``.
            codes: ``(frames, num_codebooks)``. The last codebook is not read.

        Returns:
            ``(frames, num_codebooks, codebook_size)``.
        """
        embedded = self.fast_embeddings(codes[:, :-1])
        return self.fast_logits(torch.cat((hidden.unsqueeze(1), embedded), dim=1))

    def fast_logits(self, x: Tensor, caches: Sequence[KVCache] | None = None) -> Tensor:
        """Run the fast transformer.

        Args:
            x: ``(frames, positions, dim)``. Position 0 is a hidden state of the slow transformer,
                position k the fast embedding of code k - 1.
            caches: One per layer. The positions follow those in the caches.

        Returns:
            ``(frames, positions, codebook_size)``; position k gives the logits of codebook k.
        """
        num_cached = caches[0].num_tokens if caches else 0
        rotary = _as_complex(self.fast_rotary[num_cached : num_cached + x.shape[1]])
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
        caches: Sequence[LayerCache] | None,
    ) -> Tensor:
        num_before = 0 if layers is self.layers else len(self.layers)
        num_checkpointed = self.num_checkpointed - num_before if torch.is_grad_enabled() else 0
        for i, layer in enumerate(layers):
            if i < num_checkpointed:
                x = recomputed(layer, x, rotary, unpadding)
            else:
                x = layer(x, rotary, unpadding, caches[i] if caches else None)
        return x


def _as_complex(rotary: Tensor) -> Tensor:
    return torch.view_as_complex(rotary.float())
