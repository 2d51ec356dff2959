"""Write a random base with the published shapes: ``python benchmarks/full_size_base.py FOLDER``.

model.pth has 1.28 GB in bfloat16, the codec 188 MB, and the tokenizer 100,000 ranks. With
``--tiny``, all files have the same format and a few hundred kilobytes.
"""

import argparse
import base64
import itertools
import json
from pathlib import Path
from typing import Any

import torch

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
FULL_SIZE = {
    "vocab_size": 102048,
    "max_seq_len": 8192,
    "codebook_size": 1024,
    "num_codebooks": 8,
    "dim": 1024,
    "n_layer": 24,
    "n_head": 16,
    "n_local_heads": 2,
    "intermediate_size": 4096,
    "n_fast_layer": 4,
    "fast_dim": 1024,
    "fast_n_head": 16,
    "fast_n_local_heads": 2,
    "fast_intermediate_size": 4096,
}
SEMANTIC_BEGIN_ID = 100012
TINY = FULL_SIZE | {
    "vocab_size": 2048,
    "max_seq_len": 1024,
    "dim": 32,
    "n_layer": 2,
    "n_head": 4,
    "intermediate_size": 64,
    "n_fast_layer": 1,
    "fast_dim": 32,
    "fast_n_head": 4,
    "fast_intermediate_size": 64,
}
TINY_CODEC: dict[str, dict[str, Any]] = {
    "backbone": {"depths": [1, 1], "dims": [8, 16]},
    "quantizer": {"input_dim": 16},
    "head": {"num_mels": 16, "upsample_initial_channel": 32},
}
SPECIAL_TOKENS = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_start|>", "<|im_end|>"),
    *(f"<|placeholder:{i}|>" for i in range(4)),
    *("<|text|>", "<|voice|>", "<|interleave|>"),
    *(f"<|semantic:{i}|>" for i in range(1024)),
]


def make_base(folder: Path, *, tiny: bool = False, device: str = "cpu") -> None:
    """Write the base. Random numbers are drawn on the device."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    sizes = TINY if tiny else FULL_SIZE
    num_ranks = 512 if tiny else 100_000
    begin_id = num_ranks + SPECIAL_TOKENS.index("<|semantic:0|>")
    # "meta" takes no memory, but the first use of it takes seconds.
    with torch.device("cpu" if tiny else "meta"):
        model = DualAR(DualARConfig.model_validate(sizes), semantic_begin_id=begin_id)
    weights = {
        key: torch.ones(value.shape, dtype=torch.bfloat16)
        if value.ndim == 1
        else torch.empty(value.shape, dtype=torch.bfloat16, device=device).normal_(std=0.02).cpu()
        for key, value in model.state_dict().items()
    }
    torch.save(weights, folder / "model.pth")
    (folder / "config.json").write_text(json.dumps({"model_type": "dual_ar", **sizes}))
    tokens = itertools.islice(
        (bytes(t) for n in (1, 2, 3) for t in itertools.product(range(256), repeat=n)), num_ranks
    )
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    (folder / "tokenizer.tiktoken").write_text("".join(lines))
    ids = {token: num_ranks + i for i, token in enumerate(SPECIAL_TOKENS)}
    (folder / "special_tokens.json").write_text(json.dumps(ids, indent=2))
    config = codec_config(tiny=tiny)
    torch.save(Codec(config).state_dict(), folder / CODEC_NAME)
    (folder / CODEC_NAME).with_suffix(".json").write_text(config.model_dump_json())


def codec_config(*, tiny: bool) -> CodecConfig:
    """Return the config of the published codec, or of a tiny one at the same rates."""
    config = CodecConfig.read(FIREFLY)
    if not tiny:
        return config
    values = config.model_dump()
    for section, changes in TINY_CODEC.items():
        values[section] |= changes
    return CodecConfig.model_validate(values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--tiny", action="store_true", help="write a tiny base")
    arguments = parser.parse_args()
    make_base(arguments.folder, tiny=arguments.tiny)
