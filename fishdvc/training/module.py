"""What Lightning trains: the loss of a batch, the optimizer, and the figures people look at.

Knows a model with adapters, not where its data come from or its checkpoints go.
"""

import time
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.optim import Optimizer

from fishdvc.dataset.collate import Batch
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import count_labels, dual_ar_loss
from fishdvc.training.params import TrainLoraParams
from fishdvc.training.schedule import constant_after_warmup

ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-5
"""The reference implementation's; sweeping them has brought nobody anything yet."""


class AdapterTraining(LightningModule):
    """Train the adapters of a dual-AR model; whatever else is frozen stays as it is.

    Args:
        model: A PEFT model around a ``DualAR``; it passes the attributes of that one on.
        params: Learning rate, warm-up, weight decay and seed. Dropout in batch ``i`` depends only
            on the seed, ``i`` and the process, so that a resumed run equals an unbroken one.

    Attributes:
        num_batches: Batches trained on so far, on this process.
    """

    def __init__(
        self,
        model: PeftModel,
        params: TrainLoraParams,
    ) -> None:
        super().__init__()
        # A checkpoint holds the adapter only.
        self.strict_loading = False
        self.model = model
        self.params = params
        self.num_batches = 0
        self._step_start_s = time.monotonic()
        self._step_tokens = 0
        self._val_sums = torch.zeros(6)

    @property
    def _dual_ar(self) -> DualAR:
        """The wrapped model: PEFT's wrapping has all of its attributes, but not its type."""
        return cast(DualAR, self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW on what is trainable, with a constant rate after the warm-up."""
        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=self.params.learning_rate,
            betas=ADAM_BETAS,
            eps=ADAM_EPS,
            weight_decay=self.params.weight_decay,
        )
        schedule = constant_after_warmup(optimizer, self.params.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen base out, and count the batches."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: weights[name] for name in weights if name in trained}
        checkpoint["num_batches"] = self.num_batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting the batches."""
        self.num_batches = checkpoint["num_batches"]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seed what this batch draws."""
        place = np.random.SeedSequence((self.params.seed, self.num_batches, self.global_rank))
        torch.manual_seed(int(place.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch, and log it with its parts."""
        result = dual_ar_loss(
            self._dual_ar, batch.inputs, batch.labels, divisors=self._divisors(batch.labels)
        )
        self.num_batches += 1
        self._step_tokens += int((~batch.padding_mask).sum())
        several = self.trainer.world_size > 1
        self.log("train/loss", result.loss.detach(), prog_bar=True, sync_dist=several)
        self.log("train/token_loss", result.token_loss, sync_dist=several)
        self.log("train/code_loss", result.code_loss, sync_dist=several)
        self.log("train/top_5_accuracy", result.top_5_accuracy, sync_dist=several)
        return result.loss

    def _divisors(self, labels: Tensor) -> Tensor | None:
        """Mean numbers of labels of all processes, so that each label weighs the same."""
        if self.trainer.world_size == 1:
            return None
        return self.trainer.strategy.reduce(count_labels(labels).float(), reduce_op="mean")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Log the gradient's norm before it is clipped, and the rate of the step to come."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))
        self.log("train/learning_rate", optimizer.param_groups[0]["lr"])
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and log how many tokens a second went into it on all processes."""
        super().optimizer_step(*args, **kwargs)
        now_s = time.monotonic()
        tokens_per_s = self._step_tokens * self.trainer.world_size / (now_s - self._step_start_s)
        self.log("train/tokens_per_second", tokens_per_s)
        self._step_start_s, self._step_tokens = now_s, 0

    def on_validation_epoch_start(self) -> None:
        """Begin to add up."""
        self._val_sums = torch.zeros(6, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Add up a batch: every label of the held-out clips weighs the same."""
        result = dual_ar_loss(self._dual_ar, batch.inputs, batch.labels)
        for i, (mean, count) in enumerate(
            (
                (result.token_loss, result.num_tokens),
                (result.code_loss, result.num_codes),
                (result.top_5_accuracy, result.num_ranked_codes),
            )
        ):
            self._val_sums[2 * i] += mean.float() * count
            self._val_sums[2 * i + 1] += count

    def on_validation_epoch_end(self) -> None:
        """Log the means over all held-out clips, of all processes."""
        sums = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum")
        token_loss, code_loss, top_5_accuracy = (sums[0::2] / sums[1::2].clamp(min=1)).unbind()
        # Equal on all processes; Lightning warns where it is not told to make it so.
        several = self.trainer.world_size > 1
        self.log("val/loss", token_loss + code_loss, sync_dist=several)
        self.log("val/token_loss", token_loss, sync_dist=several)
        self.log("val/code_loss", code_loss, sync_dist=several)
        self.log("val/top_5_accuracy", top_5_accuracy, sync_dist=several)
        self._step_start_s = time.monotonic()
