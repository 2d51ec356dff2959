"""Estimate the memory of a training step, to choose how many blocks to checkpoint."""

from dataclasses import dataclass

import torch

from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import FRAMES_PER_CHUNK_GPU, LOGITS_PER_CHUNK
from fishdvc.training.params import TrainLoraParams

USABLE_SHARE = 0.9
"""Largest estimate, as a share of the free memory. Estimates are up to 6 % too low."""
_ADAPTER_BYTES = 5 * 4
"""Per trained value: the value, its gradient, its gradient in loss chunks, two moments of AdamW."""
_BYTES_PER_LOGIT = 40
"""With all intermediate results of the cross entropy and its gradient, in float32."""


@dataclass(frozen=True)
class StepMemory:
    """Sizes that the memory of a training step on a GPU depends on. All estimates are in bytes.

    Every linear layer of a block is assumed to have an adapter with dropout.
    """

    config: DualARConfig
    num_frozen: int
    """Values of the base."""
    num_trained: int
    """Values of the adapter, in float32."""
    value_bytes: int
    """Bytes of a value of the base and of the activations: 2 in bfloat16, 4 in float32."""
    num_tokens: int
    """Tokens of the largest batch."""

    @property
    def num_blocks(self) -> int:
        """Blocks of both transformers."""
        return self.config.n_layer + self.config.n_fast_layer

    def block_bytes(self) -> int:
        """Activations that one block of the slow transformer keeps per token for its gradient."""
        c = self.config
        kv_dim = c.dim // c.n_head * c.n_local_heads
        norms = 2 * 4 * c.dim
        # For each adapter: its input after dropout, and the dropout mask.
        adapters = (self.value_bytes + 1) * (4 * c.dim + c.intermediate_size)
        attention = self.value_bytes * 3 * (c.dim + kv_dim)
        feed_forward = self.value_bytes * 3 * c.intermediate_size
        return norms + adapters + attention + feed_forward

    def step_bytes(self, num_checkpointed: int) -> int:
        """Estimate the peak of a step with some blocks checkpointed, the slow ones first."""
        c = self.config
        num_slow = min(num_checkpointed, c.n_layer)
        num_fast = num_checkpointed - num_slow
        block, checkpoint = self.block_bytes(), self.value_bytes * c.dim

        def kept(num_blocks: int, num_checkpointed: int) -> int:
            """Bytes per token of a transformer, with one checkpointed block recomputed."""
            recomputed = block if num_checkpointed else 0
            return (
                (num_blocks - num_checkpointed) * block + num_checkpointed * checkpoint + recomputed
            )

        num_positions = min(self.num_tokens, FRAMES_PER_CHUNK_GPU) * c.num_codebooks
        chunk_of_fast = num_positions * (
            kept(c.n_fast_layer, num_fast) + _BYTES_PER_LOGIT * c.codebook_size
        )
        num_logits = min(LOGITS_PER_CHUNK, self.num_tokens * c.vocab_size)
        # Gradients within a block: mainly those of the activations in its feed-forward.
        gradients = self.num_tokens * self.value_bytes * 4 * c.intermediate_size
        return (
            self.num_frozen * self.value_bytes
            + self.num_trained * _ADAPTER_BYTES
            + self.num_tokens * kept(c.n_layer, num_slow)
            + max(chunk_of_fast, num_logits * _BYTES_PER_LOGIT, gradients)
        )

    def blocks_to_checkpoint(self, free_bytes: int) -> int:
        """Return the smallest number of checkpointed blocks with which a step fits.

        If none is enough, return the number of all blocks.

        Args:
            free_bytes: Free memory of the GPU before the model is moved there.
        """
        usable = USABLE_SHARE * free_bytes
        numbers = range(self.num_blocks + 1)
        return next((k for k in numbers if self.step_bytes(k) <= usable), self.num_blocks)


def num_checkpointed(params: TrainLoraParams, model: DualAR, device: torch.device) -> int:
    """Choose the number of blocks to checkpoint, as ``gradient_checkpointing`` says.

    The model has an adapter, and is not on the device yet.
    """
    if params.gradient_checkpointing == "on":
        return model.config.n_layer + model.config.n_fast_layer
    if params.gradient_checkpointing == "off" or device.type != "cuda":
        return 0
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    memory = StepMemory(
        config=model.config,
        num_frozen=sum(parameter.numel() for parameter in frozen),
        num_trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        value_bytes=frozen[0].element_size(),
        num_tokens=params.batch_size * params.max_length,
    )
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return memory.blocks_to_checkpoint(free_bytes)
