"""Encode clips with a text, one ``.npy`` file of codes per clip, for the dual-AR model.

The clips of the speakers are also played slower and faster, with a random frequency response. These
are further voices, lower and higher ones.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from pydantic import Field

from demo_base.recipe import paths
from demo_base.recipe.equalizer import equalized
from demo_base.recipe.voices import group_of
from fishdvc.audio.resample import resample
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.parallel import map_in_processes
from fishdvc.params import read_params
from fishdvc.validation import Checked, Items


class EncodeParams(Checked):
    """Section ``encode`` of params.yaml."""

    kokoro_speeds: Items[float] = Field(description="Speeds of Kokoro's clips, beside 1.")
    hibari_speeds: Items[float] = Field(
        description="Speeds of hibari's clips, beside 1. Each clip is played at one of them."
    )


@cache
def _codec() -> Codec:
    torch.set_num_threads(1)
    return load_codec(paths.ENCODER_WEIGHTS, paths.CODEC_CONFIG, decoder=False)


def codes_voices(voice: str, clip: str, params: EncodeParams) -> dict[str, float]:
    """Name the voices that are made from a clip of a voice, and the speed of each."""
    further: Sequence[float] = ()
    if group_of(voice) == "kokoro":
        further = params.kokoro_speeds
    elif group_of(voice) == "hibari":
        # hibari speaks many clips. One speed for each is enough.
        choice = crc32(f"{voice}/{clip}".encode()) % len(params.hibari_speeds)
        further = (params.hibari_speeds[choice],)
    return {voice: 1.0} | {f"{voice}@{speed * 100:.0f}": speed for speed in further}


@torch.inference_mode()
def encode_clip(path: Path, *, params: EncodeParams) -> int:
    """Write the codes of a clip at each speed. Return their number."""
    audio, num_written = read_waveform(path), 0
    for voice, speed in codes_voices(path.parent.name, path.stem, params).items():
        rate_hz = round(audio.sample_rate_hz * speed)
        samples = resample(torch.from_numpy(audio.samples), rate_hz, audio.sample_rate_hz)
        if speed != 1:
            rng = np.random.default_rng(crc32(f"{voice}/{path.stem}".encode()))
            samples = torch.from_numpy(equalized(samples.numpy(), audio.sample_rate_hz, rng))
        if len(samples) < _codec().config.min_num_samples:
            continue
        codes, _ = _codec().encode(samples[None], torch.tensor([len(samples)]))
        out = paths.CODES / voice / f"{path.stem}.npy"
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, codes[0].numpy().astype(np.int16))
        num_written += 1
    return num_written


def main() -> None:
    """Write ``<voice>/<clip>.npy``, int16 ``(num_codebooks, frames)``, for clips with a text."""
    params = read_params(paths.PARAMS, "encode", EncodeParams)
    clips = [p for p in sorted(paths.SPEECH.glob("*/*.flac")) if p.with_suffix(".lab").exists()]
    encode = partial(encode_clip, params=params)
    num_written = sum(map_in_processes(encode, clips, workers=0, label="encode"))
    print(f"encode: {len(clips)} clips, {num_written} with those at other speeds")


if __name__ == "__main__":
    main()
