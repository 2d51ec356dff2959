"""Encode the voices that the dual-AR model learns, one ``.npy`` file of codes per clip."""

import numpy as np
import torch
from pydantic import Field

from demo_base.recipe.command_line import parse_paths
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.params import read_params
from fishdvc.validation import Checked, Items


class EncodeParams(Checked):
    """Section ``encode`` of params.yaml."""

    voices: Items[str] = Field(description="Voices that the dual-AR model learns.")


def main() -> None:
    """Write ``<voice>/<clip>.npy``, int16 ``(num_codebooks, frames)``, for clips with a text."""
    args = parse_paths(
        __doc__,
        params="params.yaml",
        config="the codec's JSON",
        codec="the codec's weights",
        speech="folder of clips and texts",
        codes="folder to write",
    )
    voices = read_params(args.params, "encode", EncodeParams).voices
    torch.set_num_threads(1)
    codec = load_codec(args.codec, args.config, decoder=False)
    num_clips = 0
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
