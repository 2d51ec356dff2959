"""Copy the files of the base model into one folder, and check that they load."""

import shutil

from demo_base.recipe.command_line import parse_paths
from fishdvc.codec.checkpoint import load_codec
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import RANKS_FILE, SPECIAL_TOKENS_FILE

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator"
"""Name of the published codec's file, which the library looks for. This codec has 15.6 Hz."""


def main() -> None:
    """Write a checkpoint folder in the format of fish-speech 1.5."""
    args = parse_paths(
        __doc__,
        codec_config="the codec's JSON",
        generator="the codec's weights",
        model_config="the model's config.json",
        model="the model's weights",
        tokenizer="folder of the tokenizer",
        checkpoint="folder to write",
    )
    files = {
        f"{CODEC_NAME}.json": args.codec_config,
        f"{CODEC_NAME}.pth": args.generator,
        "config.json": args.model_config,
        "model.pth": args.model,
        RANKS_FILE: args.tokenizer / RANKS_FILE,
        SPECIAL_TOKENS_FILE: args.tokenizer / SPECIAL_TOKENS_FILE,
    }
    args.checkpoint.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, args.checkpoint / name)
    load_codec(args.checkpoint / f"{CODEC_NAME}.pth", args.checkpoint / f"{CODEC_NAME}.json")
    load_dual_ar(args.checkpoint)
    size_mb = sum(path.stat().st_size for path in args.checkpoint.iterdir()) / 1e6
    print(f"assemble: {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
