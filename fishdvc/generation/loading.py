"""Load a text-to-speech system from the files of a base or merged model."""

from pathlib import Path

import torch

from fishdvc.codec.checkpoint import load_codec
from fishdvc.device import choose_device, has_bfloat16
from fishdvc.generation.synthesizer import Synthesizer
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import load_tokenizer

MIN_DIM_FOR_THREADS = 512
"""Narrower models run on one thread: their matrix products are so small that further threads only
wait and take time from other programs (benchmarks/speak.py)."""


def load_synthesizer(
    checkpoint: Path, codec_file: Path, codec_config: Path | None, device_name: str
) -> Synthesizer:
    """Load the model, the codec and the tokenizer. See ``choose_device`` and ``load_codec``.

    Raises:
        CheckpointError: A file is missing or damaged, or the files do not fit together.
        ParamsError: PyTorch does not find the device.
    """
    device = choose_device(device_name)
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
    model = load_dual_ar(checkpoint, dtype=dtype, device=device)
    if device.type == "cpu" and model.config.dim < MIN_DIM_FOR_THREADS:
        torch.set_num_threads(1)
    codec = load_codec(codec_file, codec_config, device=device)
    return Synthesizer(model, codec, load_tokenizer(checkpoint))
