"""Error rates, similarity and naturalness of recorded speech, with the weights of the packages."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fishdvc.audio.waveform import read_waveform
from fishdvc.errors import ParamsError
from fishdvc.evaluation import judges
from fishdvc.evaluation.judges import OptionalJudge, load_judges
from fishdvc.evaluation.naturalness import NaturalnessJudge
from fishdvc.evaluation.recognition import (
    RecognitionJudge,
    error_rates,
    normalize_words,
)
from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.similarity import SimilarityJudge
from tests.evaluation.speech import buzz, utterance

needs_resemblyzer = pytest.mark.skipif(
    find_spec("resemblyzer") is None, reason=f"needs: {judges.INSTALL_RESEMBLYZER}"
)

ALLISON = ("conf-lockednow.mp3", "all-circuits-busy-now.mp3", "conf-now-unmuted.mp3")
CARLO = ("vm-undelete.wav", "num-was-successfully.mp3", "please-try-call-later.flac")


def clip(top: Path, speaker: str, name: str) -> Utterance:
    path = top / "data/raw" / speaker / name
    recorded = read_waveform(path)
    return Utterance(
        text=path.with_suffix(".lab").read_text(encoding="utf-8").strip(),
        speaker=speaker,
        samples=recorded.samples,
        sample_rate_hz=recorded.sample_rate_hz,
    )


@pytest.fixture(scope="module")
def speakers(top: Path) -> dict[str, list[Utterance]]:
    names = {"allison-en": ALLISON, "carlo-it": CARLO}
    return {k: [clip(top, k, name) for name in clips] for k, clips in names.items()}


@pytest.fixture(scope="module")
def spoken(top: Path) -> Utterance:
    return clip(top, "allison-en", "conf-waitforleader.flac")


@pytest.fixture(scope="module")
def noise(spoken: Utterance) -> Utterance:
    samples = np.random.default_rng(0).normal(0, 0.1, len(spoken.samples)).astype(np.float32)
    return replace(spoken, samples=samples)


@pytest.fixture(scope="module")
def recognition(speakers: dict[str, list[Utterance]]) -> RecognitionJudge:
    return RecognitionJudge(speakers, asr_model=None)


@pytest.fixture(scope="module")
def similarity(speakers: dict[str, list[Utterance]]) -> SimilarityJudge:
    return SimilarityJudge(speakers)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("Fifteen colours.", "15 COLORS"),
        ("Zero, two.", "0 2"),
        ("He won't organise it", "he will not organize it"),
        ("Dr. Smith's café", "doctor smith's cafe"),
    ],
)
def test_spelling_is_no_error(text: str, heard: str) -> None:
    assert error_rates(text, heard, "en")["cer"] == 0


def test_error_rates_of_a_known_difference() -> None:
    rates = error_rates("the cat sat", "the bat sat down", "en")
    assert rates == pytest.approx({"cer": 5 / 9, "wer": 2 / 3})
    assert error_rates("the cat sat", "", "en") == {"cer": 1, "wer": 1}


def test_repeated_transcript_counts_as_one_wrong_sentence() -> None:
    assert error_rates("Yes it is", "so so " * 100, "en") == {"cer": 1, "wer": 1}


def test_other_languages_keep_their_letters() -> None:
    assert normalize_words("Perché no? «Sì», disse.", "it") == "perché no sì disse"
    assert normalize_words("你好，世界。", "zh") == "你好 世界"
    assert error_rates("Straße", "STRASSE", "de") == {"cer": 0, "wer": 0}
    assert error_rates("...", "hello", "it") == {}


def test_recorded_speech_is_recognized_and_noise_is_not(
    recognition: RecognitionJudge, spoken: Utterance, noise: Utterance
) -> None:
    measured = recognition.measure(spoken)
    assert measured.values["cer"] < 0.1
    assert "conference" in (measured.heard or "")
    assert recognition.measure(noise).values["cer"] > 0.8
    empty = replace(spoken, samples=np.zeros(0, np.float32))
    assert recognition.measure(empty).values == {"cer": 1, "wer": 1}


def test_other_language_is_not_measured_by_an_english_model(
    recognition: RecognitionJudge, spoken: Utterance, speakers: dict[str, list[Utterance]]
) -> None:
    assert set(recognition.not_understood) == {"carlo-it"}
    assert recognition.measure(speakers["carlo-it"][0]).values == {}
    assert recognition.measure(replace(spoken, text="Perché no?")).values == {}


def test_unknown_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"asr_model.*give the name of a model"):
        RecognitionJudge({}, asr_model=str(tmp_path))


@needs_resemblyzer
def test_voice_of_the_speaker_is_more_similar_than_another_at_any_level(
    similarity: SimilarityJudge, spoken: Utterance, speakers: dict[str, list[Utterance]]
) -> None:
    own = similarity.measure(spoken).values
    other = similarity.measure(replace(speakers["carlo-it"][0], speaker="allison-en")).values
    softer = similarity.measure(replace(spoken, samples=spoken.samples * np.float32(0.1))).values
    assert own["similarity"] > 0.75 > other["similarity"]
    assert own["similarity_percentile_of_others"] == 100
    assert other["similarity_percentile"] == 0
    assert softer["similarity"] == pytest.approx(own["similarity"], abs=1e-3)


@needs_resemblyzer
def test_single_recording_of_a_single_speaker_has_no_percentile() -> None:
    judge = SimilarityJudge({"ann": [utterance(buzz(200, 2))]})
    values = judge.measure(utterance(buzz(200, 2))).values
    assert dict(values) == pytest.approx({"similarity": 1})
    assert [metric.name for metric in judge.metrics] == ["similarity", "similarity_percentile"]


def test_recorded_speech_is_more_natural_than_noise(spoken: Utterance, noise: Utterance) -> None:
    judge = NaturalnessJudge()
    recorded, spoiled = judge.measure(spoken).values, judge.measure(noise).values
    assert recorded["distillmos"] > 3 > 2 > spoiled["distillmos"]
    assert recorded["dnsmos"] > 2.5 > 2 > spoiled["dnsmos"]
    long = replace(spoken, samples=np.tile(spoken.samples, 4))
    assert judge.measure(long).values["dnsmos"] == pytest.approx(recorded["dnsmos"], abs=0.5)
    assert judge.measure(spoken).values == recorded


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "find_spec", lambda _: None)


@pytest.mark.usefixtures("without_packages")
def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    loaded, not_measured = load_judges(
        {"ann": [utterance(buzz(200, 2))]}, optional=get_args(OptionalJudge), asr_model=None
    )
    assert [type(judge).__name__ for judge in loaded] == ["SignalJudge"]
    assert not_measured == [
        "not measured: error rates: pip install -e '.[eval]'",
        "not measured: speaker similarity: pip install --no-deps resemblyzer==0.1.4",
        "not measured: naturalness: pip install -e '.[eval]'",
    ]
