"""Look at what the demo's run left behind: a merged model that loads, and a loss that fell."""

import json
from pathlib import Path

import torch

from fishdvc.codec import load_codec
from fishdvc.model import load_dual_ar

merged = Path("data/merged")
model = load_dual_ar(merged)
weights = torch.load(merged / "model.pth", weights_only=True)
base_weights = torch.load("data/base/model.pth", weights_only=True)
assert [(k, v.shape, v.dtype) for k, v in weights.items()] == [
    (k, v.shape, v.dtype) for k, v in base_weights.items()
]
codec_checkpoint = next(merged.glob("*generator.pth"))
load_codec(codec_checkpoint, codec_checkpoint.with_suffix(".json"))

figures = json.loads(Path("data/metrics/train_lora.json").read_text())
print(figures)
assert figures["best_val_loss"] < figures["base_val_loss"]
assert figures["coverage"] == 1.0
