"""Values of judges are kept until the speech, the judge or its recordings change."""

from pathlib import Path

import numpy as np
import pytest

from fishdvc.evaluation.judges import measure
from fishdvc.evaluation.players import write_players
from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.storage.cache import FileCache, content_hash
from tests.evaluation.speech import buzz, utterance

SILENCE = np.zeros(100, np.float32)


class Letters:
    """Counts the letters of the text."""

    metrics: tuple[Metric, ...] = ()

    def __init__(self, key: str) -> None:
        self.key = key
        self.measured: list[str] = []

    def measure(self, utterance: Utterance) -> Measures:
        self.measured.append(utterance.text)
        return Measures(values={"letters": len(utterance.text)})


class Recognizer(Letters):
    """Hears the text in capitals."""

    def measure(self, utterance: Utterance) -> Measures:
        self.measured.append(utterance.text)
        return Measures(values={"cer": 0.5}, heard=utterance.text.upper())


SPOKEN = {"a": utterance(SILENCE, text="one"), "b": utterance(SILENCE, text="three")}


def test_values_of_all_judges_are_joined(tmp_path: Path) -> None:
    found = measure([Letters("k"), Recognizer("k")], "speech", SPOKEN, FileCache(tmp_path))
    assert found == {
        "a": Measures(values={"letters": 3, "cer": 0.5}, heard="ONE"),
        "b": Measures(values={"letters": 5, "cer": 0.5}, heard="THREE"),
    }


@pytest.mark.parametrize(
    ("judge", "speech", "measured"),
    [
        (Letters("recordings"), "speech", []),
        (Letters("other recordings"), "speech", ["one", "three"]),
        (Letters("recordings"), "other speech", ["one", "three"]),
        (Recognizer("recordings"), "speech", ["one", "three"]),
    ],
    ids=["all the same", "other recordings", "other speech", "other judge"],
)
def test_only_the_same_speech_and_judge_are_not_measured_again(
    judge: Letters, speech: str, measured: list[str], tmp_path: Path
) -> None:
    cache = FileCache(tmp_path)
    measure([Letters("recordings")], "speech", SPOKEN, cache)
    judge.measured.clear()
    measure([judge], speech, SPOKEN, cache)
    assert judge.measured == measured


def test_players_have_the_sound_of_their_row_and_sentence(tmp_path: Path) -> None:
    folder, cache = tmp_path / "page", FileCache(tmp_path / "cache")
    sounds = [utterance(buzz(hz, 0.2)) for hz in (100, 200, 300)]
    measures = {"a": Measures(values={"cer": 0.5}, heard="uh"), "b": Measures(values={})}
    first = write_players(folder, "base", "1", {"a": sounds[0], "b": sounds[1]}, measures, cache)
    other = write_players(folder, "step", "2", {"a": sounds[2], "b": sounds[1]}, measures, cache)
    players = [first["a"], first["b"], other["a"], other["b"]]
    assert first["a"].audio == "rows/base/a.mp3"
    assert other["b"].spectrogram == "rows/step/b.png"
    assert (first["a"].heard, first["a"].metrics) == ("uh", {"cer": 0.5})
    for player in players:
        assert player.audio_hash == content_hash(folder / player.audio)
        assert (folder / player.spectrogram).read_bytes().startswith(b"\x89PNG")
    hashes = [player.audio_hash for player in players]
    assert len(set(hashes)) == 3
    assert hashes[1] == hashes[3]
