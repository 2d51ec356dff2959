"""Results of an evaluation: metrics, rows, sentences, and the choice of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RowKind = Literal["recording", "codec", "base", "checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """The speech of one sentence, to be measured.

    Attributes:
        text: Text that should be heard.
        speaker: Speaker whose voice it should have.
        samples: float32 in -1..1, ``(samples,)``.
        sample_rate_hz: Sample rate of the samples.
        codes: ``(num_codebooks, frames)``. None for a recording.
        ended: Whether it ended by itself. True for a recording.
        real_duration_s: Duration of the recording of this text. None if there is no recording.
    """

    text: str
    speaker: str
    samples: NDArray[np.float32]
    sample_rate_hz: int
    codes: NDArray[np.integer] | None = None
    ended: bool = True
    real_duration_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of an utterance, which is averaged over sentences for a row.

    Attributes:
        name: Column of the table, with its unit as suffix.
        title: Name for people.
        better: Which values are better. None if neither is, as for a pitch.
        meaning: One sentence for people.
        digits: Number of decimals to show.
    """

    name: str
    title: str
    better: Literal["lower", "higher"] | None
    meaning: str
    digits: int = 2


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a judge measures of an utterance.

    Attributes:
        values: Values by name of the metric. A metric that has no value for it is missing.
        heard: Transcript of the recognizer. None from other judges.
    """

    values: Mapping[str, float]
    heard: str | None = None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % bootstrap interval over sentences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """Metrics of a checkpoint, of the base, or of a bound.

    Attributes:
        name: ``recording``, ``codec``, ``base`` or the name of a checkpoint.
        kind: What speaks.
        step: Optimizer step, 0 for the base. None for the bounds.
        metrics: Values by name of the metric. A metric that was not measured is missing.
        failures: For each gate that the row fails, a sentence for people.
        ties: Names of metrics whose paired difference from the base lies within its interval.
        problem: Why it cannot be chosen, whatever it speaks. None for most rows.
    """

    name: str
    kind: RowKind
    step: int | None
    metrics: Mapping[str, Interval]
    failures: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The checkpoint that the rule chooses.

    Attributes:
        checkpoint: Name of the row.
        reason: Why, in one or two sentences for people.
        warning: If no checkpoint passes every gate, none is better than the base, or some cannot be
            chosen, this in words for the first line of the page. Else None.
        compare_first: Names of the rows that listeners should compare first: those that tie, or
            the chosen one and the next one.
    """

    checkpoint: str
    reason: str
    warning: str | None
    compare_first: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence that every row speaks.

    Attributes:
        name: Unique, usable as a part of a file name.
        text: What to speak.
        speaker: Speaker whose voice it should have.
        source: ``held_out`` if a recording of it exists, else ``own``.
        reference: Name of the clip that is given as reference. None: spoken without one.
    """

    name: str
    text: str
    speaker: str
    source: Literal["held_out", "own"]
    reference: str | None


@dataclass(frozen=True, kw_only=True)
class Player:
    """One sentence of one row on the listening page.

    ``audio`` and ``spectrogram`` are paths relative to the page. ``audio_hash`` identifies what is
    heard. ``heard`` and ``metrics`` are those of ``Measures``.
    """

    audio: str
    audio_hash: str
    spectrogram: str
    heard: str | None
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that an evaluation found.

    Attributes:
        metrics: In the order of the table's columns. Includes ``val_loss``.
        rows: Bounds first, then the base, then checkpoints by step.
        sentences: What every row speaks. Rows ``recording`` and ``codec`` have only held-out ones.
        players: By name of the row, then of the sentence.
        choice: Which checkpoint the rule chose.
        not_measured: One line for each metric family whose package is missing.
    """

    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    sentences: tuple[Sentence, ...]
    players: Mapping[str, Mapping[str, Player]]
    choice: Choice
    not_measured: tuple[str, ...]
