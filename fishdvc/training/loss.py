"""The training loss of the dual-AR model: next token plus codes of the next frame."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fishdvc.dataset.examples import IGNORED_LABEL
from fishdvc.model.dual_ar import DualAR, next_frames

_LOGITS_PER_CHUNK = 2**24
"""Chunk size of the vocabulary head: 64 MB in float32, and about ten times that with all
intermediate results."""
_FRAMES_PER_CHUNK_CPU = 64
_FRAMES_PER_CHUNK_GPU = 1024
"""Chunk size of the fast transformer, which needs 5 MB per frame at full size in float32. A CPU is
busy with 64 frames; on a GPU a chunk must take longer than launching its kernels."""


@dataclass(frozen=True)
class DualARLoss:
    """The loss of a batch and its parts, scalar tensors on the model's device."""

    loss: Tensor
    """``token_loss + code_loss``. The only differentiable field."""
    token_loss: Tensor
    """Mean cross entropy of the next token, in nats."""
    code_loss: Tensor
    """Mean cross entropy of the codes, in nats. As in the reference implementation, labels where no
    frame follows count as a uniform guess."""
    top_5_accuracy: Tensor
    """Share of the code labels other than 0 that are among the five most likely codes, 0..1."""
    num_tokens: Tensor
    """Number of labels in ``token_loss``."""
    num_codes: Tensor
    """Number of labels in ``code_loss``."""
    num_ranked_codes: Tensor
    """Number of labels in ``top_5_accuracy``."""


def dual_ar_loss(
    model: DualAR, inputs: Tensor, labels: Tensor, *, divisors: Tensor | None = None
) -> DualARLoss:
    """Compute the loss of a batch.

    The numbers are those of the reference implementation, with less work: padding is skipped, the
    vocabulary head runs only at positions with a label, and the fast transformer only at frames
    with labels. Both run in chunks and compute the gradients of each chunk at once, so that memory
    does not grow with the vocabulary or the number of frames.

    Args:
        model: A ``DualAR``, or a PEFT model around one.
        inputs: ``(batch, 1 + num_codebooks, tokens)``, padding on the right.
        labels: Shape of ``inputs``, one position ahead; ignored labels are -100.
        divisors: Divisors of the summed cross entropies of tokens and of codes, ``(2,)``. None:
            the numbers of labels in this batch. Processes that train together pass the mean of
            their numbers of labels; then the mean of their gradients is that of all labels.

    Returns:
        The loss and its parts. A part without labels is 0.
    """
    # All operations whose shapes depend on values come first, because on a GPU each of them waits
    # for the queued kernels.
    counts = labels != IGNORED_LABEL
    codes, is_frame = next_frames(inputs)
    token_places = counts[:, 0].flatten().nonzero().squeeze(1)
    frame_places = (counts[:, 1:].any(dim=1) & is_frame).flatten().nonzero().squeeze(1)
    # Positions after the last label of a sequence do not affect the loss: treat them as padding.
    has_label = counts.any(dim=1)
    padding_mask = has_label.flip(1).cumsum(1).flip(1) == 0

    hidden = model.hidden_states(inputs, padding_mask).flatten(0, 1)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def token_sums(hidden: Tensor, labels: Tensor) -> Tensor:
        return _cross_entropy_sum(model.token_logits(hidden), labels).unsqueeze(0)

    def code_sums(hidden: Tensor, codes_and_labels: Tensor) -> Tensor:
        codes, labels = codes_and_labels.unbind(1)
        logits = model.codebook_logits(hidden, codes)
        in_top_5 = (logits.detach().topk(5).indices == labels.unsqueeze(-1)).any(-1)
        num_right = (in_top_5 & _is_ranked(labels)).sum()
        loss = _cross_entropy_sum(logits.flatten(0, 1), labels.flatten())
        return torch.stack((loss, num_right.to(loss.dtype)))

    (token_loss_sum,) = _sum_over_chunks(
        token_sums,
        hidden[token_places],
        labels[:, 0].flatten()[token_places],
        trained,
        max(1, _LOGITS_PER_CHUNK // model.config.vocab_size),
    )
    code_labels = labels[:, 1:].transpose(1, 2)
    code_loss_sum, num_right = _sum_over_chunks(
        code_sums,
        hidden[frame_places],
        torch.stack((codes, code_labels), dim=2).flatten(0, 1)[frame_places],
        trained,
        _FRAMES_PER_CHUNK_GPU if hidden.is_cuda else _FRAMES_PER_CHUNK_CPU,
    )

    num_tokens = counts[:, 0].sum()
    num_codes = counts[:, 1:].sum()
    num_without_frame = (counts[:, 1:] & ~is_frame.unsqueeze(1)).sum()
    num_ranked_codes = _is_ranked(labels[:, 1:]).sum()
    code_loss_sum = code_loss_sum + num_without_frame * math.log(model.config.codebook_size)
    if divisors is None:
        divisors = torch.stack((num_tokens, num_codes))
    token_divisor, code_divisor = divisors.clamp(min=1).unbind()
    token_loss = token_loss_sum / token_divisor
    code_loss = code_loss_sum / code_divisor
    return DualARLoss(
        loss=token_loss + code_loss,
        token_loss=token_loss.detach(),
        code_loss=code_loss.detach(),
        top_5_accuracy=(num_right / num_ranked_codes.clamp(min=1)).detach(),
        num_tokens=num_tokens,
        num_codes=num_codes,
        num_ranked_codes=num_ranked_codes,
    )


def count_labels(labels: Tensor) -> Tensor:
    """Count the token labels and the code labels, ``(2,)``."""
    counts = labels != IGNORED_LABEL
    return torch.stack((counts[:, 0].sum(), counts[:, 1:].sum()))


def _is_ranked(code_labels: Tensor) -> Tensor:
    """Mask of the labels for top-5 accuracy. Code 0 is excluded, because it also means no code."""
    return (code_labels != IGNORED_LABEL) & (code_labels != 0)


def _cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED_LABEL, reduction="sum"
    )


def _sum_over_chunks(
    chunk_sums: Callable[[Tensor, Tensor], Tensor],
    hidden: Tensor,
    targets: Tensor,
    parameters: Sequence[nn.Parameter],
    chunk_size: int,
) -> Tensor:
    """Add the sums over all rows, a vector whose first element, the loss, is differentiable.

    ``chunk_sums`` gets up to ``chunk_size`` rows and may use the trainable ``parameters``.
    """
    if torch.is_grad_enabled():
        sums: Tensor = _SumOverChunks.apply(chunk_sums, chunk_size, hidden, targets, *parameters)
        return sums
    parts = zip(torch.split(hidden, chunk_size), torch.split(targets, chunk_size), strict=True)
    return torch.stack([chunk_sums(*part) for part in parts]).sum(0)


class _SumOverChunks(torch.autograd.Function):
    """``_sum_over_chunks`` that computes the gradients of each chunk in the forward pass.

    The backward pass only scales them, so the activations of a chunk are freed before the next.
    """

    @staticmethod
    def forward(
        ctx: Any,
        chunk_sums: Callable[[Tensor, Tensor], Tensor],
        chunk_size: int,
        hidden: Tensor,
        targets: Tensor,
        *parameters: nn.Parameter,
    ) -> Tensor:
        parts = []
        hidden_grad = torch.empty_like(hidden)
        grads: list[Tensor | None] = [None] * len(parameters)
        for rows, row_grads, row_targets in zip(
            torch.split(hidden, chunk_size),
            torch.split(hidden_grad, chunk_size),
            torch.split(targets, chunk_size),
            strict=True,
        ):
            with torch.enable_grad():
                leaf = rows.detach().requires_grad_()
                sums = chunk_sums(leaf, row_targets)
                leaf_grad, *new_grads = torch.autograd.grad(
                    sums[0], (leaf, *parameters), allow_unused=True
                )
            row_grads.copy_(leaf_grad)
            parts.append(sums.detach())
            for i, new in enumerate(new_grads):
                if new is not None:
                    old = grads[i]
                    grads[i] = new if old is None else old.add_(new)
        ctx.save_for_backward(hidden_grad, *grads)
        return torch.stack(parts).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, sums_grad: Tensor) -> tuple[Tensor | None, ...]:
        loss_grad = sums_grad[0]
        hidden_grad, *grads = ctx.saved_tensors
        scaled = [None if grad is None else grad * loss_grad.to(grad.dtype) for grad in grads]
        return None, None, hidden_grad * loss_grad.to(hidden_grad.dtype), None, *scaled
