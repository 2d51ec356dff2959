"""The learning rate over the optimizer's steps. Knows a number and an optimizer, nothing else."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant_after_warmup(optimizer: Optimizer, warmup_steps: int) -> LambdaLR:
    """Rise in equal parts to the full rate, then stay there.

    Args:
        optimizer: Its rate is the full one.
        warmup_steps: Step ``i`` (from 0) has ``(i + 1) / warmup_steps`` of the full rate, so that
            none is wasted at a rate of 0.
    """
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, warmup_steps)))
