"""Similarity of hand-made embeddings, without the weights of the encoder."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fishdvc.evaluation import similarity
from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.similarity import SimilarityJudge
from tests.evaluation.speech import utterance


def at(degrees: float, speaker: str = "ann") -> Utterance:
    """A voice that is embedded in the plane, in this direction."""
    return utterance(np.full(1600, degrees / 360, np.float32), speaker=speaker)


@pytest.fixture(autouse=True)
def _direction_as_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(samples: np.ndarray) -> Tensor:
        angle = torch.tensor(2 * np.pi * float(samples[0]))
        return torch.stack([angle.cos(), angle.sin()])

    monkeypatch.setattr(similarity, "SpeakerEncoder", lambda: embed)
    monkeypatch.setattr(similarity, "version", lambda _: "1")


ANN = [at(degrees) for degrees in (0, 10, 20, 50)]
BOB = [at(degrees, "bob") for degrees in (90, 120)]


def measure(judge: SimilarityJudge, voice: Utterance) -> dict[str, float]:
    return dict(judge.measure(voice).values)


def cos(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def test_a_voice_is_compared_with_its_own_speaker() -> None:
    judge = SimilarityJudge({"ann": [at(0), at(20)], "bob": BOB})
    assert measure(judge, at(40))["similarity"] == pytest.approx(cos(30), abs=1e-4)
    assert measure(judge, at(40, "bob"))["similarity"] == pytest.approx(cos(65), abs=1e-4)


def test_percentiles_count_recordings_that_are_less_similar() -> None:
    judge = SimilarityJudge({"ann": [at(0), at(20)], "bob": BOB})
    # The mean of ann is at 10, her recordings are 20 from each other, those of bob 80 and 110.
    for degrees, own, others in ((25, 100, 100), (35, 0, 100), (100, 0, 50), (150, 0, 0)):
        values = measure(judge, at(degrees))
        assert values["similarity_percentile"] == own
        assert values["similarity_percentile_of_others"] == others


def test_a_recording_is_compared_with_the_others_only() -> None:
    judge = SimilarityJudge({"ann": [at(0), at(0), at(90)]})
    # The mean is at 26.6. The recordings are 45, 45 and 90 from the mean of the others.
    assert measure(judge, at(0))["similarity_percentile"] == 100
    assert measure(judge, at(80))["similarity_percentile"] == pytest.approx(100 / 3)


def test_the_key_depends_on_the_recordings_and_their_speakers() -> None:
    keys = {
        SimilarityJudge(speakers).key
        for speakers in ({"ann": ANN}, {"bob": ANN}, {"ann": ANN[:3]}, {"ann": ANN, "bob": BOB})
    }
    assert len(keys) == 4
    assert SimilarityJudge({"ann": ANN}).key == SimilarityJudge({"ann": ANN}).key
