"""Put the files of the base together in ``demo_base/checkpoint``, and check that they load."""

import argparse
import json
import shutil
from pathlib import Path

from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.config import CodecConfig
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import RANKS_FILE, SPECIAL_TOKENS_FILE

CODEC_NAME = "firefly-gan-vq-fsq-8x1024-21hz-generator"
"""The published codec's, by which it is found, though this one has 15.6 frames a second."""


def main() -> None:
    """Copy, with both configs written as the published ones are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec-config", type=Path, required=True)
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--model-config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    out: Path = args.checkpoint
    out.mkdir(parents=True, exist_ok=True)
    codec_config = CodecConfig.read(args.codec_config).to_dict()
    model_config = json.loads(args.model_config.read_text())
    (out / f"{CODEC_NAME}.json").write_text(json.dumps(codec_config, indent=1) + "\n")
    (out / "config.json").write_text(json.dumps(model_config, indent=4, sort_keys=True))
    shutil.copyfile(args.generator, out / f"{CODEC_NAME}.pth")
    shutil.copyfile(args.model, out / "model.pth")
    for name in (RANKS_FILE, SPECIAL_TOKENS_FILE):
        shutil.copyfile(args.tokenizer / name, out / name)
    load_codec(out / f"{CODEC_NAME}.pth", out / f"{CODEC_NAME}.json")
    load_dual_ar(out)
    size_mb = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"assemble: {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
