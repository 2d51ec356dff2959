"""Encode the voices that the dual-AR model learns to codes, one ``.npy`` for each clip."""

import argparse
from pathlib import Path

import numpy as np
import torch

from demo_base.dual_ar_params import DualARParams
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.params import read_params


def main() -> None:
    """Write ``<voice>/<clip>.npy``, int16 ``(num_codebooks, frames)``, of clips with a text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the codec's JSON")
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--codes", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = load_codec(args.codec, args.config, decoder=False)
    num_clips = 0
    voices = read_params(args.params, "dual_ar", DualARParams).voices
    for path in sorted(p for voice in voices for p in (args.speech / voice).glob("*.flac")):
        audio = torch.from_numpy(read_waveform(path).samples)
        if len(audio) < codec.min_num_samples or not path.with_suffix(".lab").exists():
            continue
        codes, _ = codec.encode(audio.unsqueeze(0), torch.tensor([len(audio)]))
        out = args.codes / path.parent.name / f"{path.stem}.npy"
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, codes[0].numpy().astype(np.int16))
        num_clips += 1
    print(f"encode: {num_clips} clips")


if __name__ == "__main__":
    main()
