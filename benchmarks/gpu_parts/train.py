"""Measure steps of training as the stage train_lora takes them: the module and the trainer."""

import logging
import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from fishdvc.dataset.collate import Batch, collate_sequences
from fishdvc.dataset.examples import IGNORED_LABEL
from fishdvc.lora.adapter import add_adapter
from fishdvc.machine import MachineParams
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.module import AdapterTraining
from fishdvc.training.params import LoraParams, TrainLoraParams
from fishdvc.training.trainer import build_trainer
from gpu_parts.measuring import Record, Setup, peak_gb, section

SHAPES = ((1, 2048), (4, 4096))
"""Sequences and tokens of each."""
TINY_SHAPES = ((1, 64), (2, 128))
SENTENCE_TOKENS, SENTENCE_FRAMES = 100, 65
WARMUP_STEPS, TIMED_STEPS = 3, 20


def measure(setup: Setup, record: Record) -> None:
    """Record each shape with and without gradient checkpointing."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    model = load_dual_ar(setup.base, dtype=setup.dtype)
    adapted = add_adapter(model, **section("lora", LoraParams).model_dump())
    shapes = TINY_SHAPES if setup.tiny else SHAPES
    for num_sequences, num_tokens in shapes:
        batch = random_batch(model, num_sequences, num_tokens)
        for checkpointing in (False, True):
            suffix = ", gradient checkpointing" if checkpointing else ""
            with record.case(f"train {num_sequences} x {num_tokens} tokens{suffix}") as figures:
                set_checkpointing(model, on=checkpointing)
                steps = train(setup, adapted, batch, budget_s=setup.budget_s / 2 / len(shapes))
                first_s, *later_s = steps.durations_s()
                step_s = statistics.median(later_s[WARMUP_STEPS - 1 :] or later_s[-1:])
                figures["tokens_per_s"] = num_sequences * num_tokens / step_s
                figures["step_s"] = step_s
                figures["first_step_s"] = first_s
                figures["peak_gb"] = peak_gb(setup.device)
                figures["steps"] = len(later_s) + 1
                figures["loss"] = steps.loss
                if not np.isfinite(steps.loss):
                    raise ValueError(f"expected a finite loss, got {steps.loss}")


def set_checkpointing(model: DualAR, *, on: bool) -> None:
    """Recompute the activations of all blocks, or of none."""
    model.num_checkpointed = model.config.n_layer + model.config.n_fast_layer if on else 0


def random_batch(model: DualAR, num_sequences: int, num_tokens: int) -> Batch:
    """Make sentences of 35 text tokens and 65 frames, packed into full sequences."""
    rng = np.random.default_rng(0)
    num_codebooks = model.config.num_codebooks
    sequences = []
    for _ in range(num_sequences):
        tokens = np.zeros((1 + num_codebooks, num_tokens + 1), dtype=np.int64)
        tokens[0] = rng.integers(0, 256, num_tokens + 1)
        codes = rng.integers(1, 1000, (num_codebooks, num_tokens + 1))
        place = np.arange(num_tokens + 1) % SENTENCE_TOKENS
        is_frame = place >= SENTENCE_TOKENS - SENTENCE_FRAMES
        tokens[0, is_frame] = model.semantic_begin_id + codes[0, is_frame]
        tokens[1:, is_frame] = codes[:, is_frame]
        labels = np.where(is_frame[1:], tokens[:, 1:], IGNORED_LABEL)
        sequences.append((tokens[:, :-1], labels))
    return collate_sequences(sequences, padding_id=0)


class Steps(Callback):
    """Notes the time of each step on the device, without waiting for it, and the last loss.

    Args:
        device: Device of the model.
        budget_s: Time after which no further step is started.
    """

    def __init__(self, device: torch.device, budget_s: float) -> None:
        self.device = device
        self.deadline_s = time.perf_counter() + budget_s
        self.ends: list[Any] = []
        self.loss = float("nan")

    def on_train_start(self, *_: Any) -> None:
        """Note the start of the first step."""
        self._note()

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        """Note the end of a step. Stop if the time is over and there are two steps."""
        self._note()
        if time.perf_counter() > self.deadline_s and len(self.ends) > 2:
            trainer.should_stop = True
        self._last_loss = outputs["loss"]

    def on_train_end(self, *_: Any) -> None:
        """Read the loss of the last step."""
        self.loss = float(self._last_loss)

    def durations_s(self) -> list[float]:
        """Return the time of each step."""
        pairs = zip(self.ends, self.ends[1:], strict=False)
        if self.device.type != "cuda":
            return [end - start for start, end in pairs]
        torch.cuda.synchronize(self.device)
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]

    def _note(self) -> None:
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self.ends.append(event)
        else:
            self.ends.append(time.perf_counter())


def train(setup: Setup, adapted: Any, batch: Batch, *, budget_s: float) -> Steps:
    """Train on one batch again and again."""
    num_steps = 4 if setup.tiny else WARMUP_STEPS + TIMED_STEPS
    params = section(
        "train_lora",
        TrainLoraParams,
        max_steps=num_steps,
        val_every_steps=num_steps,
        checkpoint_every_steps=num_steps,
        learning_rate=1e-4,
    )
    machine = section("machine", MachineParams, accelerator=setup.device.type, devices=1)
    steps = Steps(setup.device, budget_s)
    trainer = build_trainer(params, machine)
    trainer.callbacks.append(steps)  # type: ignore[attr-defined]
    batches: Any = [batch] * num_steps
    module = AdapterTraining(adapted, params).train()
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return steps
