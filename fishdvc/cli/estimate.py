"""Estimate the size, the computation and the memory of a run from params.yaml and config.json."""

from typing import NamedTuple

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


class Weights(NamedTuple):
    """Equal weight matrices of a model.

    Attributes:
        name: Name of the modules, as in ``lora.targets``.
        inputs: Number of inputs, or of rows of an embedding.
        outputs: Number of outputs.
        num: Number of matrices.
        uses: Products with each matrix per token, on average; 0 for embeddings.
    """

    name: str
    inputs: int
    outputs: int
    num: int
    uses: float


def list_weights(config: DualARConfig) -> list[Weights]:
    """List the weight matrices of a model."""
    c = config
    fast_uses = FRAME_SHARE * c.num_codebooks
    weights = [
        Weights("embeddings", c.vocab_size, c.dim, 1, 0),
        Weights("codebook_embeddings", c.num_codebooks * c.codebook_size, c.dim, 1, 0),
        Weights("fast_embeddings", c.codebook_size, c.dim, 1, 0),
        Weights("fast_output", c.dim, c.codebook_size, 1, fast_uses),
        *_block(c.dim, c.n_head, c.n_local_heads, c.intermediate_size, c.n_layer, 1),
        *_block(
            c.dim,
            c.fast_n_head,
            c.fast_n_local_heads,
            c.fast_intermediate_size,
            c.n_fast_layer,
            fast_uses,
        ),
    ]
    if not c.tie_word_embeddings:
        weights.append(Weights("output", c.dim, c.vocab_size, 1, FRAME_SHARE))
    return weights


def num_frozen(config: DualARConfig) -> int:
    """Return the number of values of a base, without biases."""
    num_norms = 2 * (config.n_layer + config.n_fast_layer) + 2
    matrices = sum(w.inputs * w.outputs * w.num for w in list_weights(config))
    return matrices + num_norms * config.dim


def num_trained(config: DualARConfig, lora: LoraParams) -> int:
    """Return the number of values of an adapter, without those that DoRA adds."""
    return sum(
        lora.r * (w.inputs + w.outputs) * w.num
        for w in list_weights(config)
        if w.name in lora.targets
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
    tokens = params.max_steps * params.accumulate_grad_batches * params.batch_size
    per_token = sum(w.inputs * w.outputs * w.num * w.uses for w in list_weights(config))
    return 1e-9 * FLOP_PER_WEIGHT * per_token * tokens * params.max_length


def _block(dim: int, heads: int, groups: int, inner: int, num: int, uses: float) -> list[Weights]:
    return [
        Weights("wqkv", dim, dim + 2 * (dim // heads * groups), num, uses),
        Weights("wo", dim, dim, num, uses),
        *(Weights(name, dim, inner, num, uses) for name in ("w1", "w2", "w3")),
    ]
