"""Draw an id from logits: repetition penalty, then nucleus, then temperature."""

import torch
from torch import Tensor

from fishdvc.generation.settings import Sampling

PENALTY_WINDOW_FRAMES = 16
"""Number of frames whose ids are penalized."""


def draw(
    sampling: Sampling, logits: Tensor, ids: Tensor, window: Tensor | None, uniform: Tensor
) -> Tensor:
    """Draw an id for each sequence.

    Args:
        sampling: Penalty, nucleus and temperature.
        logits: ``(batch, choices)``.
        ids: Id of each choice, ``(choices,)``.
        window: Recent ids, ``(batch, 16)``. None: no penalty.
        uniform: Random numbers as for ``sample``, ``(batch,)``.

    Returns:
        ``(batch,)``.
    """
    logits = logits.float()
    if window is not None:
        logits = penalize(logits, ids, window, sampling.repetition_penalty)
    return ids[sample(logits, uniform, temperature=sampling.temperature, top_p=sampling.top_p)]


def penalty_window(history: Tensor, num_frames: int) -> Tensor:
    """Cut out the frames whose ids the repetition penalty applies to.

    Up to 16 frames these are the first 16 places of the history. The zeros in the empty places are
    penalized as code 0, as in the reference implementation.

    Args:
        history: Frames so far in order, then zeros, ``(batch, rows, places)``, at least 16 places.
        num_frames: Number of frames in the history.

    Returns:
        ``(batch, rows, 16)``.
    """
    start = max(0, num_frames - PENALTY_WINDOW_FRAMES)
    return history[:, :, start : start + PENALTY_WINDOW_FRAMES]


def penalize(logits: Tensor, ids: Tensor, window: Tensor, penalty: float) -> Tensor:
    """Make recent ids less likely (Keskar et al., CTRL, arXiv:1909.05858).

    A positive logit is divided by the penalty and a negative one multiplied, once for each id in
    the window, however often the id occurs.

    Args:
        logits: ``(batch, choices)``.
        ids: Id of each choice, ``(choices,)``.
        window: Recent ids, ``(batch, frames)``. Ids that are not among the choices are ignored.
        penalty: Values above 1 discourage repetition. 1 changes nothing.

    Returns:
        ``(batch, choices)``.
    """
    is_recent = (ids.unsqueeze(-1) == window.unsqueeze(1)).any(dim=-1)
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(is_recent, penalized, logits)


def sample(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """Draw from the nucleus of a distribution (Holtzman et al., arXiv:1904.09751).

    The nucleus is the smallest set of most likely choices whose probability reaches ``top_p``. It
    is taken at temperature 1; the temperature is applied afterwards, as in the reference
    implementation.

    Args:
        logits: ``(batch, choices)``.
        uniform: Random numbers in [0, 1), ``(batch,)``. The drawn choice is the first one at which
            the cumulative probability, most likely first, exceeds the number. A sequence therefore
            depends on its own random number only, not on the rest of the batch.
        temperature: Above 0. Values below 1 sharpen the distribution.
        top_p: Above 0, at most 1. 1 keeps every choice; a value near 0 gives the most likely one.

    Returns:
        Indices of the drawn choices, ``(batch,)``.
    """
    sorted_logits, order = logits.float().sort(dim=-1, descending=True, stable=True)
    if top_p < 1:
        probabilities = sorted_logits.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        outside = before >= top_p
        outside[:, 0] = False
        sorted_logits = sorted_logits.masked_fill(outside, -torch.inf)
    cumulated = (sorted_logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    # Rounding may leave the last sum below 1 and move the result past the nucleus. The scaling and
    # the minimum prevent this.
    reached = uniform.unsqueeze(1) * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, reached, right=True)
    last = (sorted_logits > -torch.inf).sum(dim=-1, keepdim=True) - 1
    return order.gather(1, chosen.minimum(last)).squeeze(1)
