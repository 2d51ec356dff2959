"""Draw one code from logits: repetition penalty, nucleus, temperature, in this order.

Knows tensors of logits and a window of recent ids; no model and no order of codebooks.
"""

import torch
from torch import Tensor

from fishdvc.generation.settings import Sampling

PENALTY_WINDOW_FRAMES = 16
"""Frames whose ids are penalized."""


def draw(
    sampling: Sampling, logits: Tensor, ids: Tensor, window: Tensor | None, uniform: Tensor
) -> Tensor:
    """Draw an id for each sequence.

    Args:
        sampling: How.
        logits: ``(batch, choices)``.
        ids: What the choices are called, ``(choices,)``.
        window: Recent ids, ``(batch, 16)``, or None.
        uniform: As for ``sample``, ``(batch,)``.

    Returns:
        ``(batch,)``.
    """
    logits = logits.float()
    if window is not None:
        logits = penalize(logits, ids, window, sampling.repetition_penalty)
    return ids[sample(logits, uniform, temperature=sampling.temperature, top_p=sampling.top_p)]


def penalty_window(history: Tensor, num_frames: int) -> Tensor:
    """Cut the frames whose ids the repetition penalty looks at.

    Up to 16 frames these are the first 16 places of the history, filled or not: the zeros that
    stand in the empty ones are penalized as code 0, as in the reference implementation.

    Args:
        history: Frames so far in order, then zeros, ``(batch, rows, places)``, at least 16 places.
        num_frames: How many are filled.

    Returns:
        ``(batch, rows, 16)``.
    """
    start = max(0, num_frames - PENALTY_WINDOW_FRAMES)
    return history[:, :, start : start + PENALTY_WINDOW_FRAMES]


def penalize(logits: Tensor, ids: Tensor, window: Tensor, penalty: float) -> Tensor:
    """Make recent ids less likely (Keskar et al., CTRL, arXiv:1909.05858).

    Each id in the window is treated once, however often it occurs: a positive logit is divided by
    the penalty, a negative one multiplied.

    Args:
        logits: ``(batch, choices)``.
        ids: What the choices are called in the window, ``(choices,)``.
        window: Recent ids, ``(batch, frames)``; those that are no choice have no effect.
        penalty: 1 changes nothing, above 1 discourages.

    Returns:
        ``(batch, choices)``.
    """
    is_recent = (ids.unsqueeze(-1) == window.unsqueeze(1)).any(dim=-1)
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(is_recent, penalized, logits)


def sample(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """Draw from the nucleus of a distribution (Holtzman et al., arXiv:1904.09751).

    The nucleus is the smallest set of likeliest choices whose probability reaches ``top_p``, by
    the distribution at temperature 1: the temperature comes after, as in the reference
    implementation, and so does not change what is in it.

    Args:
        logits: ``(batch, choices)``.
        uniform: What decides, 0 to below 1, ``(batch,)``: the choice at which the probabilities
            added up, likeliest first, exceed it. So what a sequence draws depends on its own
            randomness alone, whatever stands beside it.
        temperature: Above 0; below 1 sharpens.
        top_p: Above 0, at most 1, which keeps everything; near 0 gives the likeliest choice.

    Returns:
        Positions of the chosen, ``(batch,)``.
    """
    sorted_logits, order = logits.float().sort(dim=-1, descending=True, stable=True)
    if top_p < 1:
        probabilities = sorted_logits.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        outside = before >= top_p
        outside[:, 0] = False
        sorted_logits = sorted_logits.masked_fill(outside, -torch.inf)
    cumulated = (sorted_logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    # The last sum may fall short of 1 by rounding: what has no probability is never reached.
    reached = uniform.unsqueeze(1) * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, reached, right=True)
    last = (sorted_logits > -torch.inf).sum(dim=-1, keepdim=True) - 1
    return order.gather(1, chosen.minimum(last)).squeeze(1)
