"""The training loss of the dual-AR model: next token plus the codes of the next frame.

Equal to the reference implementation's numbers at a fraction of its work: padding is not run, the
vocabulary head runs only where a label counts, and the fast transformer only at frames whose codes
count. Both run in chunks that take their gradients at once, so that memory grows with neither the
vocabulary nor the number of frames, and nothing is computed twice.

Knows tensors of inputs and labels and the model's heads; no files, optimizers or adapters.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fishdvc.model.dual_ar import DualAR, next_frames

IGNORED_LABEL = -100
_LOGITS_PER_CHUNK = 2**24
"""Of the vocabulary head: 64 MB in float32, and about ten times that with all that comes of it."""
_FRAMES_PER_CHUNK_CPU = 64
_FRAMES_PER_CHUNK_GPU = 1024
"""Of the fast transformer, which keeps 5 MB per frame at full size in float32. 64 frames are rows
enough for a CPU; on a GPU a chunk must outlast the launching of its kernels."""


@dataclass(frozen=True)
class DualARLoss:
    """The loss of a batch and its parts; scalar tensors on the model's device."""

    loss: Tensor
    """``token_loss + code_loss``, to be differentiated."""
    token_loss: Tensor
    """Mean cross entropy of the next token over its labels, in nats."""
    code_loss: Tensor
    """Mean cross entropy of the codes over their labels, in nats. As in the reference
    implementation, labels where no frame follows count as a uniform guess."""
    top_5_accuracy: Tensor
    """Part of the labels that are codes other than 0 among the five likeliest, 0..1."""
    num_tokens: Tensor
    """Labels behind ``token_loss``."""
    num_codes: Tensor
    """Labels behind ``code_loss``."""
    num_ranked_codes: Tensor
    """Labels behind ``top_5_accuracy``."""


def dual_ar_loss(
    model: DualAR, inputs: Tensor, labels: Tensor, *, divisors: Tensor | None = None
) -> DualARLoss:
    """Compute the loss of a batch.

    Args:
        model: A ``DualAR``, or a PEFT model around one, which passes its methods on.
        inputs: ``(batch, 1 + num_codebooks, tokens)``, padding on the right.
        labels: As ``inputs``, one position ahead; -100 where nothing is asked.
        divisors: What to divide the sums of the next token's and the codes' cross entropies by,
            ``(2,)``; None: by the batch's own numbers of labels. Processes that train together
            divide by the mean of theirs, or their gradients' mean is not that of all labels.

    Returns:
        The loss and its parts. Without any label a part is 0.
    """
    # The choices that depend on values come first, all together: on a GPU each waits for the
    # work in flight.
    counts = labels != IGNORED_LABEL
    codes, is_frame = next_frames(inputs)
    token_places = counts[:, 0].flatten().nonzero().squeeze(1)
    frame_places = (counts[:, 1:].any(dim=1) & is_frame).flatten().nonzero().squeeze(1)
    # Nothing is asked at or after the last label of a sequence: to the loss this is padding too.
    asked = counts.any(dim=1)
    padding_mask = asked.flip(1).cumsum(1).flip(1) == 0

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
    """Count the labels of the next token and those of codes, ``(2,)``."""
    counts = labels != IGNORED_LABEL
    return torch.stack((counts[:, 0].sum(), counts[:, 1:].sum()))


def _is_ranked(code_labels: Tensor) -> Tensor:
    """Say which labels top-5 accuracy looks at: code 0 is left out, it also stands for no code."""
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
    """Add up a function of rows, chunk by chunk.

    Args:
        chunk_sums: From rows of ``hidden`` and ``targets`` to a vector of sums over these rows.
            Only the first sum, the loss, is differentiable.
        hidden: ``(rows, dim)``.
        targets: ``(rows, ...)``.
        parameters: What ``chunk_sums`` may use that is trained.
        chunk_size: The most rows per call.

    Returns:
        The sums, ``(sums,)``.
    """
    if torch.is_grad_enabled():
        sums: Tensor = _SumOverChunks.apply(chunk_sums, chunk_size, hidden, targets, *parameters)
        return sums
    parts = zip(torch.split(hidden, chunk_size), torch.split(targets, chunk_size), strict=True)
    return torch.stack([chunk_sums(*part) for part in parts]).sum(0)


class _SumOverChunks(torch.autograd.Function):
    """``_sum_over_chunks`` whose forward pass takes the gradients of each chunk right away.

    A sum of losses has the same gradient whatever is done with it, up to one factor; so what the
    chunk computed can be dropped before the next.
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
