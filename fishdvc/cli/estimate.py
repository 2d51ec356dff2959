"""Estimate the size, the computation and the memory of a run from params.yaml and the base."""

from fishdvc.model.dual_ar import DualAR
from fishdvc.training.memory import StepMemory
from fishdvc.training.params import LoraParams, TrainLoraParams

FRAME_SHARE = 0.75
"""Usual share of frames in the tokens of a training sequence. The others are text."""
FLOP_PER_WEIGHT = 4
"""Per use of a weight in a step: two forward and two backward. Frozen weights need no gradient."""
GFLOP_PER_CODEC_BYTE_AND_S = 4.9 / 188.5e6
"""Encoding a second with the published codec of 188.5 MB took as long as a matrix product of 4.9
GFLOP on two CPU cores (benchmarks/RESULTS.md)."""
EFFICIENCY = {"cpu": 0.5, "cuda": 0.1, "mps": 0.1}
"""Speed of training as a share of that of a large matrix product. 0.4 to 0.75 was measured on CPUs,
0.06 to 0.12 on an H200 (benchmarks/RESULTS.md); nothing on MPS."""


def num_frozen(model: DualAR) -> int:
    """Return the number of values of a base."""
    return sum(parameter.numel() for parameter in model.parameters())


def num_trained(model: DualAR, lora: LoraParams) -> int:
    """Return the number of values of an adapter, without those that DoRA adds."""
    return lora.r * sum(
        sum(parameter.shape)
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and name.split(".")[-2] in lora.targets
    )


def step_memory(
    model: DualAR, lora: LoraParams, params: TrainLoraParams, *, value_bytes: int
) -> StepMemory:
    """Return the sizes that the memory of a training step depends on."""
    return StepMemory(
        model.config,
        num_frozen(model),
        num_trained(model, lora),
        value_bytes,
        params.batch_size * params.max_length,
    )


def training_gflop(model: DualAR, params: TrainLoraParams) -> float:
    """Return the computation of all steps, if every sequence has ``max_length`` tokens."""
    uses = {"layers": 1, "fast_layers": FRAME_SHARE * model.config.num_codebooks}
    uses |= {"fast_output": uses["fast_layers"], "output": FRAME_SHARE}
    per_token = sum(
        uses.get(name.split(".")[0], 0) * parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2
    )
    tokens = params.max_steps * params.accumulate_grad_batches * params.batch_size
    return 1e-9 * FLOP_PER_WEIGHT * per_token * tokens * params.max_length
