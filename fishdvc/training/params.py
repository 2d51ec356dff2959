"""Sections ``lora`` and ``train_lora`` of params.yaml."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from fishdvc.validation import Checked, Items


class LoraParams(Checked):
    """Section ``lora`` of params.yaml: the adapter."""

    r: int = Field(ge=1, description="Rank.")
    alpha: float = Field(gt=0, description="The adapter's output is scaled by alpha / r.")
    dropout: float = Field(ge=0, lt=1, description="Dropout probability of linear adapters.")
    use_rslora: bool = Field(description="Scale by alpha / sqrt(r) instead.")
    use_dora: bool = Field(description="Also learn the norm of each weight (DoRA).")
    targets: Items[str] = Field(description="Names of the modules that get an adapter.")


class TrainLoraParams(Checked):
    """Section ``train_lora`` of params.yaml."""

    init_from: str | None = Field(
        description="Folder of an earlier adapter to continue from, with its own r, alpha, targets."
    )
    max_steps: int = Field(ge=1, description="Number of optimizer steps.")
    learning_rate: float = Field(gt=0, description="Learning rate of AdamW after the warm-up.")
    warmup_steps: int = Field(ge=0, description="Optimizer steps until the full learning rate.")
    weight_decay: float = Field(ge=0, description="Weight decay of AdamW.")
    batch_size: int = Field(ge=1, description="Sequences per batch, on each device.")
    accumulate_grad_batches: int = Field(ge=1, description="Batches per optimizer step.")
    max_length: int = Field(ge=16, description="Maximum number of tokens in a sequence.")
    gradient_clip_norm: float = Field(ge=0, description="Maximum gradient norm. 0: no clipping.")
    val_every_steps: int = Field(ge=1, description="Optimizer steps between validations.")
    checkpoint_every_steps: int = Field(
        ge=1, description="Optimizer steps between checkpoints, a multiple of val_every_steps."
    )
    gradient_checkpointing: bool = Field(
        description="Recompute activations in the backward pass: less memory, a third more time."
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
