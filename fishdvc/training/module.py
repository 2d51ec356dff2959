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
from fishdvc.training.loss import DualARLoss, dual_ar_loss
from fishdvc.training.params import TrainLoraParams

ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-5
"""Values of the reference implementation."""
PARTS = ("loss", "token_loss", "code_loss", "top_5_accuracy")
TENSOR_METRICS = (*PARTS, "grad_norm")


class AdapterTraining(LightningModule):
    """Trains the adapter of a dual-AR model.

    Dropout in batch ``i`` depends only on the seed, ``i`` and the rank, so that a resumed run
    equals an uninterrupted one.

    Nothing in a training step waits for the GPU. Lightning's ``log`` would, so the metrics of a
    step are attributes, and ``Curves`` reads them on the host when it writes them.

    Args:
        model: A PEFT model around a ``DualAR``.
        params: Learning rate, warm-up, weight decay and seed.

    Attributes:
        num_batches: Number of batches trained on so far, on this process.
        step_tensors: Metrics of the last optimizer step on this process, ``TENSOR_METRICS``. The
            metrics of the step are the means over all processes.
        step_numbers: Further metrics of the last optimizer step, equal on all processes except for
            the throughput.
    """

    def __init__(self, model: PeftModel, params: TrainLoraParams) -> None:
        super().__init__()
        # Checkpoints hold the adapter only.
        self.strict_loading = False
        self.model = model
        self.params = params
        self.num_batches = 0
        self.step_tensors = torch.zeros(len(TENSOR_METRICS))
        self.step_numbers: dict[str, float] = {}
        self._step_start_s = time.monotonic()
        self._step_tokens = 0
        self._step_parts: list[Tensor] = []
        self._grad_norm = torch.zeros(())
        self._val_sums = torch.zeros(3)
        self._val_counts = np.zeros(3)

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
            # The other implementations read the step of each parameter on the host.
            fused=True,
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
        """Compute the loss of a batch."""
        result = dual_ar_loss(self._dual_ar, batch)
        self.num_batches += 1
        self._step_tokens += len(batch.positions)
        self._step_parts.append(_parts(result))
        return result.loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,  # noqa: ARG002
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Compute the norm of the gradient, and clip the gradient by it."""
        trained = [p for p in self.model.parameters() if p.grad is not None]
        self._grad_norm = torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in trained])
        if gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(trained, gradient_clip_val, self._grad_norm)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Take a step, and keep its metrics."""
        rate = optimizer.param_groups[0]["lr"]
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        now_s = time.monotonic()
        # The divisors of a batch are means over the batches of the step, and so are these parts.
        parts = torch.stack(self._step_parts).mean(dim=0)
        self.step_tensors = torch.cat((parts, self._grad_norm.unsqueeze(0)))
        num_tokens = self._step_tokens * self.trainer.world_size
        self.step_numbers = {
            "learning_rate": rate,
            # On a GPU, this is the time between two launches of a step.
            "tokens_per_second": num_tokens / (now_s - self._step_start_s),
        }
        self._step_start_s, self._step_tokens, self._step_parts = now_s, 0, []

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._val_sums = torch.zeros(3, device=self.device)
        self._val_counts = np.zeros(3)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Add the sums and the numbers of labels of a batch."""
        _, *means = _parts(dual_ar_loss(self._dual_ar, batch)).unbind()
        self._val_sums += torch.stack(
            [mean * count for mean, count in zip(means, batch.counts, strict=True)]
        )
        self._val_counts += batch.counts

    def on_validation_epoch_end(self) -> None:
        """Log the means over all labels of the held-out sentences, of all processes."""
        own = torch.stack((self._val_sums, torch.from_numpy(self._val_counts).to(self._val_sums)))
        sums, counts = self.trainer.strategy.reduce(own, reduce_op="sum")
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


def _parts(result: DualARLoss) -> Tensor:
    """Return the values of ``PARTS`` as one tensor."""
    return torch.stack([getattr(result, name).detach() for name in PARTS]).float()
