"""Copy the files of the base model into one folder, and check that they load."""

import shutil

from demo_base.recipe import paths
from fishdvc.codec.checkpoint import load_codec
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import RANKS_FILE, SPECIAL_TOKENS_FILE

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator"
"""Name of the published codec's file, which the library looks for. This codec has 15.6 Hz."""


def main() -> None:
    """Write a checkpoint folder in the format of fish-speech 1.5."""
    files = {
        f"{CODEC_NAME}.json": paths.CODEC_CONFIG,
        f"{CODEC_NAME}.pth": paths.CODEC_WEIGHTS,
        "config.json": paths.MODEL_CONFIG,
        "model.pth": paths.MODEL_WEIGHTS,
        RANKS_FILE: paths.TOKENIZER / RANKS_FILE,
        SPECIAL_TOKENS_FILE: paths.TOKENIZER / SPECIAL_TOKENS_FILE,
    }
    paths.CHECKPOINT.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, paths.CHECKPOINT / name)
    load_codec(paths.CHECKPOINT / f"{CODEC_NAME}.pth", paths.CHECKPOINT / f"{CODEC_NAME}.json")
    load_dual_ar(paths.CHECKPOINT)
    size_mb = sum(path.stat().st_size for path in paths.CHECKPOINT.iterdir()) / 1e6
    print(f"assemble: {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
