"""The training loss of the dual-AR model: next token plus codes of the next frame."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fishdvc.dataset.collate import Batch
from fishdvc.dataset.examples import IGNORED_LABEL, LabelCounts
from fishdvc.model.dual_ar import DualAR
from fishdvc.model.layers import Unpadding

LOGITS_PER_CHUNK = 2**24
"""Chunk size of the vocabulary head: 64 MB in float32, and about ten times that with all
intermediate results."""
_FRAMES_PER_CHUNK_CPU = 64
FRAMES_PER_CHUNK_GPU = 1024
"""Chunk size of the fast transformer, which needs 5 MB per frame at full size in float32. A CPU is
busy with 64 frames; on a GPU a chunk must take longer than launching its kernels."""


@dataclass(frozen=True)
class DualARLoss:
    """The loss of a batch and its parts, scalar tensors on the model's device."""

    loss: Tensor
    """``token_loss + code_loss``. The only differentiable field."""
    token_loss: Tensor
    """Cross entropy of the next token, in nats."""
    code_loss: Tensor
    """Cross entropy of the codes, in nats. As in the reference implementation, labels where no
    frame follows count as a uniform guess."""
    top_5_accuracy: Tensor
    """Share of the code labels other than 0 that are among the five most likely codes, 0..1."""


def dual_ar_loss(model: DualAR, batch: Batch) -> DualARLoss:
    """Compute the loss of a batch: sums over its labels, divided by ``batch.divisors``.

    The numbers are those of the reference implementation, with less work: padding is skipped, the
    vocabulary head runs only at positions with a label, and the fast transformer only at frames
    with labels. Both run in chunks and compute the gradients of each chunk at once, so that memory
    does not grow with the vocabulary or the number of frames. No shape depends on values, so on a
    GPU nothing waits for the queued kernels.

    Args:
        model: A ``DualAR``, or a PEFT model around one.
        batch: On the model's device.

    Returns:
        The loss and its parts. A part without labels is 0.
    """
    num_sequences, _, num_tokens = batch.inputs.shape
    # Positions after the last label of a sequence do not affect the loss: treat them as padding.
    unpadding = Unpadding(batch.positions, num_sequences, num_tokens)
    is_padded = len(batch.positions) < num_sequences * num_tokens
    hidden = model.hidden_states(batch.inputs, unpadding if is_padded else None).flatten(0, 1)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def token_sums(hidden: Tensor, labels: Tensor) -> Tensor:
        return _cross_entropy_sum(model.token_logits(hidden), labels).unsqueeze(0)

    def code_sums(hidden: Tensor, codes_and_labels: Tensor) -> Tensor:
        codes, labels = codes_and_labels.unbind(1)
        logits = model.codebook_logits(hidden, codes)
        in_top_5 = (logits.detach().topk(5).indices == labels.unsqueeze(-1)).any(-1)
        # Code 0 is excluded, because it also means no code.
        num_right = (in_top_5 & (labels > 0)).sum()
        loss = _cross_entropy_sum(logits.flatten(0, 1), labels.flatten())
        return torch.stack((loss, num_right.to(loss.dtype)))

    (token_loss_sum,) = _sum_over_chunks(
        token_sums,
        hidden.index_select(0, batch.token_positions),
        batch.token_labels,
        trained,
        max(1, LOGITS_PER_CHUNK // model.config.vocab_size),
    )
    code_loss_sum, num_right = _sum_over_chunks(
        code_sums,
        hidden.index_select(0, batch.frame_positions),
        batch.frames,
        trained,
        FRAMES_PER_CHUNK_GPU if hidden.is_cuda else _FRAMES_PER_CHUNK_CPU,
    )
    uniform_loss = math.log(model.config.codebook_size)
    code_loss_sum = code_loss_sum + batch.num_codes_without_frame * uniform_loss
    divisors = LabelCounts(*(max(1, count) for count in batch.divisors))
    token_loss = token_loss_sum / divisors.tokens
    code_loss = code_loss_sum / divisors.codes
    return DualARLoss(
        loss=token_loss + code_loss,
        token_loss=token_loss.detach(),
        code_loss=code_loss.detach(),
        top_5_accuracy=(num_right / divisors.ranked_codes).detach(),
    )


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
