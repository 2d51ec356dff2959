"""A dual-AR model that is guided to attend to its text. The guidance is for training only."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fishdvc.model.dual_ar import DualAR
from fishdvc.model.kv_cache import KVCache
from fishdvc.model.layers import Attention, Unpadding, rotate


class GuidedDualAR(DualAR):
    """Adds noise to the input frames, and computes the guided attention loss of some heads."""

    noise = 0.0
    """Share of the input frames that are replaced by other frames of the batch, 0..1.

    Without noise, the model predicts a frame from the last frames and does not learn to use the
    text; cf. the dropout before the decoder of Tacotron (Wang et al. 2017,
    https://arxiv.org/abs/1703.10135).
    """
    log_weights: Tensor | None = None
    """Target of the guided heads, ``(batch, tokens, tokens)``. None: no target."""

    def __init__(self, *args: Any, guided_layers: Sequence[int], **kwargs: Any) -> None:
        """Guide the first head of some layers. Other arguments are those of ``DualAR``."""
        super().__init__(*args, **kwargs)
        self.misses: list[Tensor] = []
        for i in guided_layers:
            attention = self.layers[i].get_submodule("attention")
            attention.register_forward_pre_hook(self._record_miss)

    def hidden_states(
        self,
        inputs: Tensor,
        unpadding: Unpadding | None = None,
        caches: Sequence[KVCache] | None = None,
    ) -> Tensor:
        """Run the slow transformer on inputs ``(batch, 1 + num_codebooks, tokens)`` with noise."""
        self.misses = []
        batch, num_rows, num_tokens = inputs.shape
        columns = inputs.transpose(0, 1).flatten(1).clone()
        frames = columns[1:].any(dim=0).nonzero().squeeze(1)
        replaced = frames[torch.rand(len(frames)) < self.noise]
        columns[:, replaced] = columns[:, frames[torch.randint(len(frames), (len(replaced),))]]
        noisy = columns.view(num_rows, batch, num_tokens).transpose(0, 1)
        return super().hidden_states(noisy, unpadding, caches)

    def _record_miss(self, attention: nn.Module, args: tuple[Any, ...]) -> None:
        if self.log_weights is None:
            return
        assert isinstance(attention, Attention)
        x, _, rotary, unpadding = args[:4]
        self.misses.append(attention_miss(attention, x, rotary, unpadding, self.log_weights))


def attention_miss(
    attention: Attention,
    x: Tensor,
    rotary: Tensor,
    unpadding: Unpadding | None,
    log_weights: Tensor,
) -> Tensor:
    """Compute the guided attention loss of the first head of an attention.

    After Tachibana et al. 2017, https://arxiv.org/abs/1710.08969, but as the negative logarithm of
    the weighted sum of the attention.

    Args:
        attention: The attention.
        x: Its input, padded or packed.
        rotary: As in ``Attention.forward``.
        unpadding: As in ``Attention.forward``.
        log_weights: Logarithms of weights of at most 1, ``(batch, tokens, tokens)``. Rows without
            a finite value do not count.

    Returns:
        The mean over rows, a scalar.
    """
    size = attention.head_dim
    keys_begin = attention.num_heads * size
    weight = attention.wqkv.weight
    of_head = torch.cat((weight[:size], weight[keys_begin : keys_begin + size]))
    both = nn.functional.linear(x, of_head)
    if unpadding is not None:
        both = unpadding.restore(both)
    batch, num_tokens, _ = both.shape
    queries, keys = rotate(both.view(batch, num_tokens, 2, size), rotary).unbind(2)
    log_weights = log_weights[:, :num_tokens, :num_tokens]
    scores = queries @ keys.transpose(1, 2) / size**0.5
    future = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
    attended = scores.masked_fill(future, -torch.inf).log_softmax(dim=-1)
    rows = log_weights.isfinite().any(dim=-1)
    miss: Tensor = -(attended[rows] + log_weights[rows]).logsumexp(dim=-1).mean()
    return miss
