"""Measure loading the base and generating sentences, without the codec's decoder."""

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from fishdvc.generation.generate import Generator
from fishdvc.generation.settings import Sampling
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from gpu_parts.measuring import Record, Setup, peak_gb, repeat_s, synchronize, timed_s

BATCH_SIZES = (1, 16, 64)
NUM_FRAMES = 200
"""Frames of each sentence, 9.3 s of speech."""
NUM_CODES = 1000
"""Codes that the published codec has."""
FRAME_RATE_HZ = 44_100 / 2048


def measure(setup: Setup, record: Record) -> None:
    """Record the time of loading, then of each number of sentences, first and again."""
    start_s = time.perf_counter()
    models: list[DualAR] = []
    with record.case("load the base") as figures:
        models.append(load_dual_ar(setup.base, dtype=setup.dtype, device=setup.device))
        synchronize(setup.device)
        figures["first_s"] = time.perf_counter() - start_s

        def load() -> None:
            load_dual_ar(setup.base, dtype=setup.dtype, device=setup.device)

        load_s = statistics.median(repeat_s(setup.device, load, budget_s=setup.budget_s / 20))
        figures["s"] = load_s
        figures["gb_per_s"] = (setup.base / "model.pth").stat().st_size / 1e9 / load_s
    for batch_size in BATCH_SIZES[: 2 if setup.tiny else None]:
        plural = "s" if batch_size > 1 else ""
        with record.case(f"generate {batch_size} sentence{plural}") as figures:
            budget_s = setup.budget_s / len(BATCH_SIZES)
            Sentences(setup, models[0], batch_size).measure(figures, budget_s=budget_s)


class Sentences:
    """Prompts of different lengths that are continued together."""

    def __init__(self, setup: Setup, model: DualAR, batch_size: int) -> None:
        self.device = setup.device
        self.num_frames = 8 if setup.tiny else NUM_FRAMES
        self.generator = Generator(
            model,
            sampling=Sampling(),
            end_id=None,
            num_codes=NUM_CODES,
            batch_size=max(BATCH_SIZES),
        )
        self.prompts = [random_prompt(model, 24 + i % 16, seed=i) for i in range(batch_size)]
        self.first_frame_s = 0.0

    def measure(self, figures: dict[str, Any], *, budget_s: float) -> None:
        """Fill in the figures of a first run, and of later ones if there is time."""
        run_s = timed_s(self.device, self.run)
        figures["first_run_s"] = run_s
        figures["first_run_first_frame_s"] = self.first_frame_s
        figures["later_runs"] = 0
        if run_s < budget_s:
            times_s = repeat_s(self.device, self.run, budget_s=budget_s - run_s)
            run_s = statistics.median(times_s)
            figures["first_frame_s"] = self.first_frame_s
            figures["later_runs"] = len(times_s)
        figures["frames_per_s"] = len(self.prompts) * self.num_frames / run_s
        figures["x_real_time"] = figures["frames_per_s"] / FRAME_RATE_HZ
        figures["frames_each"] = self.num_frames
        figures["peak_gb"] = peak_gb(self.device)

    def run(self) -> None:
        """Generate frames for each sentence, and note when the first one was ready."""
        self.first_frame_s = 0.0
        start_s = time.perf_counter()

        def on_frame() -> None:
            if not self.first_frame_s:
                synchronize(self.device)
                self.first_frame_s = time.perf_counter() - start_s

        seeds = list(range(len(self.prompts)))
        codes = self.generator.generate(
            self.prompts, seeds=seeds, max_new_frames=self.num_frames, on_frame=on_frame
        )
        lengths = {frames.shape[-1] for frames in codes}
        if lengths != {self.num_frames}:
            raise ValueError(f"expected {self.num_frames} frames of each, got {lengths}")


def random_prompt(model: DualAR, num_tokens: int, *, seed: int) -> Tensor:
    """Draw a prompt of text, ``(1 + num_codebooks, tokens)``."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.zeros(1 + model.config.num_codebooks, num_tokens, dtype=torch.int64)
    prompt[0] = torch.randint(0, 256, (num_tokens,), generator=generator)
    return prompt
