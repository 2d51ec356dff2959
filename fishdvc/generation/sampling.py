"""Draw from logits: repetition penalty, then nucleus, then temperature."""

import torch
from torch import Tensor

from fishdvc.generation.settings import Sampling

PENALTY_WINDOW_FRAMES = 16
"""Number of frames whose ids are penalized."""


def draw(sampling: Sampling, logits: Tensor, penalties: Tensor, uniform: Tensor) -> Tensor:
    """Draw a choice for each sequence. See ``penalize`` and ``sample`` for shapes and ranges."""
    logits = penalize(logits.float(), penalties)
    return sample(logits, uniform, temperature=sampling.temperature, top_p=sampling.top_p)


def penalize(logits: Tensor, penalties: Tensor) -> Tensor:
    """Make recent choices less likely (Keskar et al., CTRL, arXiv:1909.05858).

    A positive logit is divided by its penalty and a negative one multiplied.

    Args:
        logits: ``(batch, choices)``.
        penalties: Above 1 for choices to discourage, 1 for all others, ``(batch, choices)``.

    Returns:
        ``(batch, choices)``.
    """
    return torch.where(logits > 0, logits / penalties, logits * penalties)


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
    cumulated = sorted_logits.softmax(dim=-1).cumsum(dim=-1)
    # A choice is in the nucleus if the probability before it is below top_p.
    last = (cumulated[:, :-1] < top_p).sum(dim=-1, keepdim=True)
    if temperature != 1:
        cumulated = (sorted_logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    reached = uniform.unsqueeze(1) * cumulated.gather(1, last)
    # Rounding may move the result past the nucleus. The minimum prevents this.
    chosen = torch.searchsorted(cumulated, reached, right=True).minimum(last)
    return order.gather(1, chosen).squeeze(1)
