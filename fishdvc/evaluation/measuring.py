"""Measure the utterances of a row, and cache the values."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from fishdvc.evaluation.judges import Judge
from fishdvc.evaluation.results import Measures, Utterance
from fishdvc.storage.cache import FileCache, combined_key, content_hash
from fishdvc.storage.imports import imported_files


def measure(
    judges: Sequence[Judge], key: str, utterances: Mapping[str, Utterance], cache: FileCache
) -> dict[str, Measures]:
    """Measure utterances with all judges, or read the values from the cache.

    Args:
        judges: The judges.
        key: Hash of the utterances.
        utterances: By name of the sentence.
        cache: Keeps the values of each judge and row in a file.

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
