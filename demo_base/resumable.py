"""A training loop that can be stopped at any time and goes on where it stopped.

Knows nothing of what is trained. The state lies beside the stage's outs, because DVC removes outs
before a stage runs; it is taken up again if the stage's parameters, but for ``num_steps``, are
those that it was saved under.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 120.0
REPORT_EVERY_STEPS = 50


def train(
    modules: nn.ModuleDict,
    step: Callable[[int], dict[str, Tensor]],
    params: Any,
    *,
    state: Path,
    warmup_steps: int = 50,
    clip_norm: float = 1.0,
) -> None:
    """Train until ``params.num_steps``, by AdamW and a rate that rises, holds and falls to a tenth.

    Args:
        modules: What is trained; parameters that want no gradient stay.
        step: Gives the figures of a step, of which ``loss`` is minimized.
        params: A dataclass with ``num_steps`` and ``learning_rate``.
        state: File that keeps the state.
        warmup_steps: Over which the rate rises.
        clip_norm: Largest norm of a step's gradient.
    """
    trained = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, params.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )

    def rate(number: int) -> float:
        left: float = (params.num_steps - number) / (0.3 * params.num_steps)
        return min((number + 1) / warmup_steps, max(0.1, min(1.0, left)))

    key = json.dumps({k: v for k, v in asdict(params).items() if k != "num_steps"})
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        if saved["key"] == key:
            modules.load_state_dict(saved["modules"])
            optimizer.load_state_dict(saved["optimizer"])
            first = saved["step"]
    saved_at_s = time.monotonic()
    sums: dict[str, float] = {}
    for number in range(first, params.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = params.learning_rate * rate(number)
        figures = step(number)
        optimizer.zero_grad()
        torch.autograd.backward(figures["loss"])
        nn.utils.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / REPORT_EVERY_STEPS
        if (number + 1) % REPORT_EVERY_STEPS == 0:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in sums.items())
            print(f"{time.strftime('%H:%M:%S')} step {number + 1}: {shown}", flush=True)
            sums = {}
        last = number + 1 == params.num_steps
        if last or time.monotonic() - saved_at_s > SAVE_EVERY_S:
            content = {
                "key": key,
                "step": number + 1,
                "modules": modules.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            partial = state.with_suffix(".partial")
            state.parent.mkdir(parents=True, exist_ok=True)
            torch.save(content, partial)
            partial.rename(state)
            saved_at_s = time.monotonic()
