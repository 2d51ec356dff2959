"""The LightningModule of the fine-tuning: loss, optimizer, schedule and logged metrics."""

import time
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fishdvc.dataset.collate import Batch
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import count_labels, dual_ar_loss
from fishdvc.training.params import TrainLoraParams

ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-5
"""Values of the reference implementation."""


class AdapterTraining(LightningModule):
    """Trains the adapter of a dual-AR model.

    Dropout in batch ``i`` depends only on the seed, ``i`` and the rank, so that a resumed run
    equals an uninterrupted one.

    Args:
        model: A PEFT model around a ``DualAR``.
        params: Learning rate, warm-up, weight decay and seed.

    Attributes:
        num_batches: Number of batches trained on so far, on this process.
    """

    def __init__(self, model: PeftModel, params: TrainLoraParams) -> None:
        super().__init__()
        # Checkpoints hold the adapter only.
        self.strict_loading = False
        self.model = model
        self.params = params
        self.num_batches = 0
        self._step_start_s = time.monotonic()
        self._step_tokens = 0
        self._val_sums = torch.zeros(2, 3)

    @property
    def _dual_ar(self) -> DualAR:
        """The PEFT model, which has all attributes of the ``DualAR`` but not its type."""
        return cast(DualAR, self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW on the trainable parameters. The warm-up is linear, then the rate is constant.

        Step ``i`` of the warm-up, from 0, has ``(i + 1) / warmup_steps`` of the full rate.
        """
        warmup_steps = max(1, self.params.warmup_steps)
        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=self.params.learning_rate,
            betas=ADAM_BETAS,
            eps=ADAM_EPS,
            weight_decay=self.params.weight_decay,
        )
        schedule = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove the frozen base from a checkpoint, and add the number of batches."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: weights[name] for name in weights if name in trained}
        checkpoint["num_batches"] = self.num_batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the number of batches."""
        self.num_batches = checkpoint["num_batches"]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seed the dropout of this batch."""
        seed = np.random.SeedSequence((self.params.seed, self.num_batches, self.global_rank))
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Compute the loss of a batch, and log it with its parts."""
        result = dual_ar_loss(
            self._dual_ar, batch.inputs, batch.labels, divisors=self._divisors(batch.labels)
        )
        self.num_batches += 1
        self._step_tokens += int((~batch.padding_mask).sum())
        several = self.trainer.world_size > 1
        self.log("train/loss", result.loss.detach(), prog_bar=True, sync_dist=several)
        parts = {
            "train/token_loss": result.token_loss,
            "train/code_loss": result.code_loss,
            "train/top_5_accuracy": result.top_5_accuracy,
        }
        self.log_dict(parts, sync_dist=several)
        return result.loss

    def _divisors(self, labels: Tensor) -> Tensor | None:
        """Mean numbers of labels of all processes, so that all labels have the same weight."""
        if self.trainer.world_size == 1:
            return None
        return self.trainer.strategy.reduce(count_labels(labels).float(), reduce_op="mean")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Log the norm of the gradient before clipping, and the learning rate of the step."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))
        self.log("train/learning_rate", optimizer.param_groups[0]["lr"])
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and log the throughput of all processes."""
        super().optimizer_step(*args, **kwargs)
        now_s = time.monotonic()
        tokens_per_s = self._step_tokens * self.trainer.world_size / (now_s - self._step_start_s)
        self.log("train/tokens_per_second", tokens_per_s)
        self._step_start_s, self._step_tokens = now_s, 0

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._val_sums = torch.zeros(2, 3, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Add the sums and the numbers of labels of a batch."""
        result = dual_ar_loss(self._dual_ar, batch.inputs, batch.labels)
        means = torch.stack((result.token_loss, result.code_loss, result.top_5_accuracy)).float()
        counts = torch.stack((result.num_tokens, result.num_codes, result.num_ranked_codes))
        self._val_sums += torch.stack((means * counts, counts))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all labels of the held-out sentences, of all processes."""
        sums, counts = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum")
        token_loss, code_loss, top_5_accuracy = (sums / counts.clamp(min=1)).unbind()
        means = {
            "val/loss": token_loss + code_loss,
            "val/token_loss": token_loss,
            "val/code_loss": code_loss,
            "val/top_5_accuracy": top_5_accuracy,
        }
        # The means are equal on all processes, but Lightning warns without sync_dist.
        self.log_dict(means, sync_dist=self.trainer.world_size > 1)
        self._step_start_s = time.monotonic()
