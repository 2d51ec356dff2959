"""Write a random base with the published shapes: ``python benchmarks/full_size_base.py FOLDER``.

model.pth has 1.28 GB in bfloat16, the codec 188 MB, and the tokenizer 100,000 ranks.
"""

import argparse
import base64
import itertools
import json
from pathlib import Path

import torch
from training_step import FULL_SIZE, SEMANTIC_BEGIN_ID

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
SPECIAL_TOKENS = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_start|>", "<|im_end|>"),
    *(f"<|placeholder:{i}|>" for i in range(4)),
    *("<|text|>", "<|voice|>", "<|interleave|>"),
    *(f"<|semantic:{i}|>" for i in range(1024)),
]
NUM_RANKS = 100_000


def make_base(folder: Path) -> None:
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    with torch.device("meta"):
        config = DualARConfig(**FULL_SIZE)
        model = DualAR(config, semantic_begin_id=SEMANTIC_BEGIN_ID)
    weights = {
        key: torch.ones(value.shape, dtype=torch.bfloat16)
        if value.ndim == 1
        else torch.empty(value.shape, dtype=torch.bfloat16).normal_(std=0.02)
        for key, value in model.state_dict().items()
    }
    torch.save(weights, folder / "model.pth")
    (folder / "config.json").write_text(json.dumps({"model_type": "dual_ar", **FULL_SIZE}))
    tokens = itertools.islice(
        (bytes(t) for n in (1, 2, 3) for t in itertools.product(range(256), repeat=n)), NUM_RANKS
    )
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    (folder / "tokenizer.tiktoken").write_text("".join(lines))
    ids = {token: NUM_RANKS + i for i, token in enumerate(SPECIAL_TOKENS)}
    (folder / "special_tokens.json").write_text(json.dumps(ids, indent=2))
    torch.save(Codec(CodecConfig.read(FIREFLY)).state_dict(), folder / CODEC_NAME)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to write")
    make_base(parser.parse_args().folder)
