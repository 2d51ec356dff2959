"""What a check of a dataset found: counts per speaker, histograms, and warnings."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SpeakerSummary:
    """Amount of speech of one speaker.

    Attributes:
        name: Path of the speaker's folder below ``dataset.path``.
        num_clips: Number of clips.
        duration_s: Duration of all clips together, in seconds.
    """

    name: str
    num_clips: int
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Numbers of clips by a measure.

    Attributes:
        name: Name of the measure, with its unit as suffix.
        title: Name for people, with the unit.
        edges: Edges of the bins, one more than bins.
        counts: Number of clips in each bin.
    """

    name: str
    title: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DataWarning:
    """Clips that probably harm the training.

    Attributes:
        kind: One word with underscores, such as ``speaking_rate``.
        message: What was found, in one sentence.
        advice: What to do, in one sentence.
        files: The clips, each with the measured value where there is one.
    """

    kind: str
    message: str
    advice: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The result of a check of a dataset."""

    speakers: tuple[SpeakerSummary, ...]
    histograms: tuple[Histogram, ...]
    warnings: tuple[DataWarning, ...]
