"""Sections ``lora`` and ``train_lora`` of params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from fishdvc.lora.targets import Target
from fishdvc.model.config import DualARConfig
from fishdvc.validation import Checked, Items

_MOST_STEPS = 10**9 - 1
"""Names of checkpoints have nine digits."""
_LARGEST_FLOAT = 1e6
"""Far above every useful value, and far below the largest that float32 holds."""


class LoraParams(Checked):
    """Section ``lora`` of params.yaml: the adapter."""

    r: int = Field(ge=1, description="Rank.")
    alpha: float = Field(
        gt=0, le=_LARGEST_FLOAT, description="The adapter's output is scaled by alpha / r."
    )
    dropout: float = Field(ge=0, lt=1, description="Dropout probability of linear adapters.")
    use_rslora: bool = Field(description="Scale by alpha / sqrt(r) instead.")
    use_dora: bool = Field(description="Also learn the norm of each weight (DoRA).")
    targets: Items[Target] = Field(description="Names of the modules that get an adapter.")

    def inconsistencies(self) -> Iterator[str]:
        """Check that at least one module is named, and none twice."""
        if not self.targets or len(set(self.targets)) < len(self.targets):
            yield f"targets: must name at least one module, and none twice, got {self.targets}"


class TrainLoraParams(Checked):
    """Section ``train_lora`` of params.yaml."""

    init_from: str | None = Field(
        description="Folder of an earlier adapter to continue from, with its own r, alpha, targets."
    )
    max_steps: int = Field(ge=1, le=_MOST_STEPS, description="Number of optimizer steps.")
    learning_rate: float = Field(
        gt=0, le=_LARGEST_FLOAT, description="Learning rate of AdamW after the warm-up."
    )
    warmup_steps: int = Field(
        ge=0, le=_MOST_STEPS, description="Optimizer steps until the full learning rate."
    )
    weight_decay: float = Field(ge=0, le=_LARGEST_FLOAT, description="Weight decay of AdamW.")
    batch_size: int = Field(ge=1, le=10_000, description="Sequences per batch, on each device.")
    accumulate_grad_batches: int = Field(ge=1, le=10_000, description="Batches per optimizer step.")
    max_length: int = Field(ge=16, description="Maximum number of tokens in a sequence.")
    gradient_clip_norm: float = Field(
        ge=0, le=_LARGEST_FLOAT, description="Maximum gradient norm. 0: no clipping."
    )
    val_every_steps: int = Field(
        ge=1, le=_MOST_STEPS, description="Optimizer steps between validations."
    )
    checkpoint_every_steps: int = Field(
        ge=1,
        le=_MOST_STEPS,
        description="Optimizer steps between checkpoints, a multiple of val_every_steps.",
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        description="Recompute activations in the backward pass: less memory, slower. "
        "auto: on a CUDA GPU, in as many blocks as the free memory requires; else off."
    )
    seed: int = Field(
        ge=0, lt=2**32, description="Seed of new adapters, sentence order and dropout."
    )
    precision: Literal["auto", "32-true", "bf16-true", "bf16-mixed"] = Field(
        description="Precision of the frozen base (-true) or of the arithmetic (-mixed). "
        "Adapters are always float32. auto: bf16-true on a GPU that supports it, else 32-true."
    )

    def inconsistencies(self) -> Iterator[str]:
        """Each checkpoint must have a validation loss."""
        if self.checkpoint_every_steps % self.val_every_steps:
            yield (
                f"checkpoint_every_steps: must be a multiple of val_every_steps "
                f"({self.val_every_steps}), got {self.checkpoint_every_steps}"
            )


def base_mismatches(
    adapter: LoraParams, params: TrainLoraParams, config: DualARConfig
) -> list[str]:
    """List the values that do not fit the base, one line each."""
    problems = []
    if params.max_length > config.max_seq_len:
        problems.append(
            f"train_lora.max_length: must be at most max_seq_len = {config.max_seq_len} of the "
            f"base, got {params.max_length}"
        )
    if params.init_from is not None:
        return problems
    if adapter.r > config.dim:
        problems.append(f"lora.r: must be at most dim = {config.dim} of the base, got {adapter.r}")
    if config.tie_word_embeddings and (tied := {"embeddings", "output"} & {*adapter.targets}):
        problems.append(
            f"lora.targets: must not name {' and '.join(sorted(tied))}, because this base uses the "
            "text embeddings as its vocabulary head"
        )
    return problems
