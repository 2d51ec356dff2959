"""A dual-AR model in training that is made to look at its text.

Two helps that generation does without: frames of its history are replaced by others, and heads in
the middle are drawn to where in the text the speech is. Knows nothing of files or of sentences.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fishdvc.model.dual_ar import DualAR
from fishdvc.model.kv_cache import KVCache
from fishdvc.model.layers import Attention, Unpadding, rotate


class GuidedDualAR(DualAR):
    """Reads a noisy history, and tells how near the text its guided heads look."""

    noise = 0.0
    """Share of the frames that are replaced by others of the batch, 0..1.

    The last frames say nearly everything about the next one, so a model that can trust them finds
    no use for the text; cf. the dropout before the decoder of Tacotron (Wang et al. 2017,
    https://arxiv.org/abs/1703.10135).
    """
    log_weights: Tensor | None = None
    """Where the guided heads should look, ``(batch, tokens, tokens)``; None: anywhere."""

    def __init__(self, *args: Any, guided_layers: Sequence[int], **kwargs: Any) -> None:
        """Guide the first head of some layers; other arguments as those of ``DualAR``."""
        super().__init__(*args, **kwargs)
        self.misses: list[Tensor] = []
        for i in guided_layers:
            attention = self.layers[i].get_submodule("attention")
            attention.register_forward_pre_hook(self._watch)

    def hidden_states(
        self,
        inputs: Tensor,
        padding_mask: Tensor | None = None,
        caches: Sequence[KVCache] | None = None,
    ) -> Tensor:
        """Run the slow transformer on inputs ``(batch, 1 + num_codebooks, tokens)``."""
        self.misses = []
        columns = inputs.transpose(0, 1).flatten(1).clone()
        frames = columns[1:].any(dim=0).nonzero().squeeze(1)
        replaced = frames[torch.rand(len(frames)) < self.noise]
        columns[:, replaced] = columns[:, frames[torch.randint(len(frames), (len(replaced),))]]
        shuffled = columns.unflatten(1, (len(inputs), -1)).transpose(0, 1)
        return super().hidden_states(shuffled, padding_mask, caches)

    def _watch(self, attention: nn.Module, args: tuple[Any, ...]) -> None:
        if self.log_weights is None:
            return
        assert isinstance(attention, Attention)
        x, rotary, unpadding = args[:3]
        self.misses.append(attention_miss(attention, x, rotary, unpadding, self.log_weights))


def attention_miss(
    attention: Attention,
    x: Tensor,
    rotary: Tensor,
    unpadding: Unpadding | None,
    log_weights: Tensor,
) -> Tensor:
    """Measure how far the first head of an attention looks from where it should.

    Guided attention (Tachibana et al. 2017, https://arxiv.org/abs/1710.08969), as the negative
    logarithm of the attention that falls under a weight of at most 1.

    Args:
        attention: Whose weights are used.
        x: What it is given, padded or packed.
        rotary: As in ``Attention.forward``.
        unpadding: How ``x`` is packed.
        log_weights: Logarithms of the weights, ``(batch, tokens, tokens)``; rows without a finite
            one do not count.

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
    queries, keys = rotate(both.unflatten(-1, (2, size)), rotary).unbind(2)
    num_tokens = queries.shape[1]
    log_weights = log_weights[:, :num_tokens, :num_tokens]
    scores = queries @ keys.transpose(1, 2) / size**0.5
    future = torch.ones(num_tokens, num_tokens, dtype=torch.bool).triu(1)
    attended = scores.masked_fill(future, -torch.inf).log_softmax(dim=-1)
    rows = log_weights.isfinite().any(dim=-1)
    return -(attended[rows] + log_weights[rows]).logsumexp(dim=-1).mean()
