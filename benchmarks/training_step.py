"""Measure the time and memory of one LoRA step of a random model in float32.

The model has the published sizes, or fewer layers. A batch has four sequences of 35 text tokens and
30, 45, 60 and 120 frames. The last line is JSON.
"""

import argparse
import json
import resource
import time
from typing import cast

import torch
from full_size_base import FULL_SIZE, SEMANTIC_BEGIN_ID
from machine_speed import measure_gflops

from fishdvc.dataset.collate import Batch, batch_of
from fishdvc.lora.adapter import add_adapter
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import dual_ar_loss

NUM_TEXT_TOKENS = 35
NUM_FRAMES = (30, 45, 60, 120)


def build_model(num_layers: int) -> DualAR:
    config = DualARConfig.model_validate(FULL_SIZE | {"n_layer": num_layers})
    model = DualAR(config, semantic_begin_id=SEMANTIC_BEGIN_ID)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def build_batch() -> Batch:
    num_tokens = NUM_TEXT_TOKENS + max(NUM_FRAMES)
    inputs = torch.zeros(len(NUM_FRAMES), 9, num_tokens, dtype=torch.long)
    labels = torch.full_like(inputs, -100)
    for row, num_frames in enumerate(NUM_FRAMES):
        end = NUM_TEXT_TOKENS + num_frames
        codes = torch.randint(0, 1000, (8, num_frames))
        inputs[row, 0, :NUM_TEXT_TOKENS] = torch.randint(0, 100_000, (NUM_TEXT_TOKENS,))
        inputs[row, 0, NUM_TEXT_TOKENS:end] = SEMANTIC_BEGIN_ID + codes[0]
        inputs[row, 1:, NUM_TEXT_TOKENS:end] = codes
        # The labels begin at the last text token. After the frames comes the end of the turn.
        labels[row, :, NUM_TEXT_TOKENS - 1 : end - 1] = inputs[row, :, NUM_TEXT_TOKENS:end]
        labels[row, :, end - 1] = 0
    return batch_of(inputs.numpy(), labels.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=24, help="blocks of the slow transformer")
    parser.add_argument("--steps", type=int, default=2, help="timed steps after one warm-up step")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print the profile of one more step")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = build_model(args.layers)
    num_blocks = args.layers + model.config.n_fast_layer
    model.num_checkpointed = num_blocks if args.gradient_checkpointing else 0
    peft_model = add_adapter(model, r=8, alpha=16, dropout=0.01).train()
    trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.0)
    batch = build_batch()

    def step() -> tuple[float, float]:
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        loss = dual_ar_loss(cast(DualAR, peft_model), batch).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start_s, time.process_time() - start_cpu_s

    gflops = [measure_gflops()]
    times_s = [step() for _ in range(1 + args.steps)][1:]
    gflops.append(measure_gflops())
    if args.profile:
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    result = {
        "layers": args.layers,
        "threads": torch.get_num_threads(),
        "step_s": [round(wall_s, 2) for wall_s, _ in times_s],
        # On a shared machine, only the CPU time is meaningful.
        "step_cpu_s": [round(cpu_s, 2) for _, cpu_s in times_s],
        "peak_gb": round(peak_gb, 2),
        "matmul_gflops": [round(g, 1) for g in gflops],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
