"""The learning rate over the optimizer's steps. Knows a number and an optimizer, nothing else."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant_after_warmup(optimizer: Optimizer, warmup_steps: int) -> LambdaLR:
    """Rise in equal parts to the full rate, then stay there, as the reference implementation does.

    Args:
        optimizer: Its rate is the full one.
        warmup_steps: Step ``i`` (from 0) has ``i / warmup_steps`` of the full rate.
    """
    return LambdaLR(optimizer, lambda step: min(1.0, step / max(1, warmup_steps)))
