"""Estimate the size, the computation and the memory of a run from params.yaml and config.json."""

import math

from fishdvc.lora.targets import adaptable_shapes
from fishdvc.model.config import DualARConfig
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


def num_frozen(config: DualARConfig) -> int:
    """Return the number of values of a base, without biases."""
    num_norms = 2 * (config.n_layer + config.n_fast_layer) + 2
    return sum(map(math.prod, adaptable_shapes(config).values())) + num_norms * config.dim


def num_trained(config: DualARConfig, lora: LoraParams) -> int:
    """Return the number of values of an adapter, without those that DoRA adds."""
    return lora.r * sum(
        sum(shape)
        for key, shape in adaptable_shapes(config).items()
        if key.split(".")[-2] in lora.targets
    )


def step_memory(
    config: DualARConfig, lora: LoraParams, params: TrainLoraParams, *, value_bytes: int
) -> StepMemory:
    """Return the sizes that the memory of a training step depends on."""
    return StepMemory(
        config,
        num_frozen(config),
        num_trained(config, lora),
        value_bytes,
        params.batch_size * params.max_length,
    )


def training_gflop(config: DualARConfig, params: TrainLoraParams) -> float:
    """Return the computation of all steps, if every sequence has ``max_length`` tokens."""
    # Products with a weight per token, by the start of its key. Embeddings have none.
    uses = {"layers": 1, "output": FRAME_SHARE}
    uses |= dict.fromkeys(("fast_layers", "fast_output"), FRAME_SHARE * config.num_codebooks)
    per_token = sum(
        uses.get(key.split(".")[0], 0) * math.prod(shape)
        for key, shape in adaptable_shapes(config).items()
    )
    tokens = params.max_steps * params.accumulate_grad_batches * params.batch_size
    return 1e-9 * FLOP_PER_WEIGHT * per_token * tokens * params.max_length
