"""A training loop that can be stopped at any time and resumes from a state file.

torchrun starts several processes, whose gradients are averaged. One process per core is faster than
one process of several threads.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, distributed, nn

from fishdvc.storage.atomic import atomic_file
from fishdvc.validation import Checked

CLIP_NORM = 1.0
SAVE_EVERY_S = 120.0
REPORT_EVERY_STEPS = 50
SEEDS_BETWEEN_PROCESSES = 1000


class TrainingParams(Checked):
    """Parameters of every training."""

    seed: int = Field(description="Seed of the weights and the batches.")
    num_steps: int = Field(description="Optimizer steps.", ge=1)
    learning_rate: float = Field(description="Learning rate of AdamW after the warm-up.", gt=0)
    warmup_steps: int = Field(description="Steps of the warm-up.", ge=1)
    initial_weights: str | None = Field(
        description="File of weights to start from. null: random weights."
    )


AnyParams = TypeVar("AnyParams", bound=TrainingParams)


def join_processes() -> int:
    """Join the processes that torchrun started.

    Returns:
        The rank of this process, 0 without torchrun. Only rank 0 should write files.
    """
    torch.set_num_threads(1)
    if not distributed.is_torchelastic_launched():
        return 0
    distributed.init_process_group("gloo")
    return distributed.get_rank()


def training_device() -> torch.device:
    """Choose a CUDA GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def with_seed_of_process(params: AnyParams, rank: int) -> AnyParams:
    """Return parameters whose seed gives each process other batches."""
    return params.model_copy(update={"seed": params.seed + SEEDS_BETWEEN_PROCESSES * rank})


def share_weights(modules: nn.Module) -> None:
    """Give all processes the weights of rank 0."""
    if distributed.is_initialized():
        for weight in modules.state_dict().values():
            shared = weight.cpu()
            distributed.broadcast(shared, 0)
            weight.copy_(shared)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Average the gradients of all processes. A parameter without a gradient counts as 0."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = nn.utils.parameters_to_vector(gradients).cpu()
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    gradients = list(torch.split(flat, [p.numel() for p in parameters]))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.device)


def train(
    modules: nn.ModuleDict,
    step: Callable[[int], dict[str, Tensor]],
    params: TrainingParams,
    *,
    state: Path,
) -> None:
    """Train with AdamW until ``params.num_steps``.

    The learning rate rises during the warm-up, stays, and falls to a tenth in the last 30 % of the
    steps. The training resumes from ``state`` if the file was saved with the same parameters;
    only ``num_steps`` may differ. Several processes start with the weights of rank 0, which also
    reports and saves. Each should draw its own batches.

    Args:
        modules: Modules to train. Parameters that do not require a gradient stay as they are.
        step: Computes the figures of a step from its number. ``loss`` is minimized.
        params: Parameters of the training.
        state: File of weights and optimizer. It must not be an output of a DVC stage, because DVC
            removes outputs before it runs a stage.
    """
    is_first = not distributed.is_initialized() or distributed.get_rank() == 0
    trained = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, params.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    key = params.model_dump_json(exclude={"num_steps"})
    first = 0
    if state.exists() and (saved := torch.load(state, "cpu", weights_only=True))["key"] == key:
        modules.load_state_dict(saved["modules"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    share_weights(modules)
    state.parent.mkdir(parents=True, exist_ok=True)
    saved_at_s = time.monotonic()
    sums: dict[str, float] = {}
    for number in range(first, params.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = params.learning_rate * _rate(number, params)
        figures = step(number)
        optimizer.zero_grad()
        torch.autograd.backward(figures["loss"])
        average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / REPORT_EVERY_STEPS
        done = number + 1
        if not is_first:
            continue
        if done % REPORT_EVERY_STEPS == 0:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in sums.items())
            print(f"{time.strftime('%H:%M:%S')} step {done}: {shown}", flush=True)
            sums = {}
        if done == params.num_steps or time.monotonic() - saved_at_s > SAVE_EVERY_S:
            content = {
                "key": key,
                "step": done,
                "modules": modules.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            with atomic_file(state) as partial:
                torch.save(content, partial)
            saved_at_s = time.monotonic()


def _rate(number: int, params: TrainingParams) -> float:
    left = (params.num_steps - number) / (0.3 * params.num_steps)
    return min((number + 1) / params.warmup_steps, max(0.1, min(1.0, left)))
