"""Encode the voices that the dual-AR model learns, one ``.npy`` file of codes per clip."""

import numpy as np
import torch
from pydantic import Field

from demo_base.recipe import paths
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.params import read_params
from fishdvc.validation import Checked, Items


class EncodeParams(Checked):
    """Section ``encode`` of params.yaml."""

    voices: Items[str] = Field(description="Voices that the dual-AR model learns.")


def main() -> None:
    """Write ``<voice>/<clip>.npy``, int16 ``(num_codebooks, frames)``, for clips with a text."""
    voices = read_params(paths.PARAMS, "encode", EncodeParams).voices
    torch.set_num_threads(1)
    codec = load_codec(paths.ENCODER_WEIGHTS, paths.CODEC_CONFIG, decoder=False)
    num_clips = 0
    for path in sorted(p for voice in voices for p in (paths.SPEECH / voice).glob("*.flac")):
        audio = torch.from_numpy(read_waveform(path).samples)
        if len(audio) < codec.config.min_num_samples or not path.with_suffix(".lab").exists():
            continue
        codes, _ = codec.encode(audio.unsqueeze(0), torch.tensor([len(audio)]))
        out = paths.CODES / path.parent.name / f"{path.stem}.npy"
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, codes[0].numpy().astype(np.int16))
        num_clips += 1
    print(f"encode: {num_clips} clips")


if __name__ == "__main__":
    main()
