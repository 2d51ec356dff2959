"""The rule that chooses a checkpoint: gates, then the most similar voice, then the earlier step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from fishdvc.errors import CheckpointError
from fishdvc.evaluation.bootstrap import SentenceValues, is_tie, paired_difference
from fishdvc.evaluation.results import Choice, Interval, Row
from fishdvc.validation import Checked


class Gates(Checked):
    """What a checkpoint must fulfil to be chosen."""

    min_ended_share: float = Field(
        description="A checkpoint fails if fewer sentences end by themselves.", ge=0, le=1
    )
    max_looped_share: float = Field(
        description="A checkpoint fails if more of its speech is repetition.", ge=0, le=1
    )
    max_cer_increase: float = Field(
        description="A checkpoint fails if its character error rate exceeds the base's by more.",
        ge=0,
    )


@dataclass(frozen=True)
class _Voice:
    """A measure of the voice. ``sign`` is 1 if higher values are better, else -1."""

    metric: str
    words: str
    sign: int


SIMILARITY = _Voice("similarity", "speaker similarity", 1)
DIFFERENCE = _Voice("voice_difference", "difference of pitch and spectrum", -1)
ERROR_RATE = "cer"

Compare = Callable[[Row, Row, str], Interval | None]


def choose(
    rows: Sequence[Row],
    values: Mapping[str, SentenceValues],
    gates: Gates,
    wins: Mapping[str, int] | None = None,
) -> tuple[list[Row], Choice]:
    """Choose a checkpoint. Those with a ``problem`` are never chosen.

    1. Checkpoints that fail a gate are dropped.
    2. If some of the others are better than the base, only these stay. Better means a more similar
       voice or a lower character error rate, outside the interval of the paired difference.
    3. The one with the most similar voice is chosen. The voice is measured by ``similarity``, or
       without the speaker encoder by ``voice_difference``.
    4. Those whose paired difference from it includes 0 tie with it. Of these, the one that won most
       comparisons of the blind test is chosen, or the earliest.

    If all fail a gate, the one with the fewest failures is chosen; of these, the one with the
    lowest character error rate, then the largest share of sentences that end, then the earliest.

    Args:
        rows: With one of kind ``base`` and at least one of kind ``checkpoint`` without a problem.
        values: For each of these rows, its values by sentence.
        gates: Thresholds. The gate of the character error rate is left out if it is not measured.
        wins: Won comparisons of the blind test, by name of the row.

    Returns:
        The rows with their failures, and the choice.

    Raises:
        CheckpointError: There is no base or no such checkpoint.
    """
    base = next((row for row in rows if row.kind == "base"), None)
    if base is None or not any(row.kind == "checkpoint" and not row.problem for row in rows):
        raise CheckpointError("evaluate: needs the base and at least one checkpoint to choose from")

    def compare(row: Row, other: Row, metric: str) -> Interval | None:
        return paired_difference(values[row.name], values[other.name], metric)

    rows = [
        replace(row, failures=_failures(row, base, gates, compare)) if row.step is not None else row
        for row in rows
    ]
    checkpoints = sorted((row for row in rows if row.kind == "checkpoint"), key=_step)
    passing = [row for row in checkpoints if not row.failures]
    if passing:
        choice = _most_similar(passing, base, compare, wins or {})
    else:
        choice = _least_bad([row for row in checkpoints if not row.problem])
    if refused := [f"{row.name} ({row.problem})" for row in checkpoints if row.problem]:
        warning = f"{choice.warning or ''} Not to be chosen: {', '.join(refused)}.".strip()
        choice = replace(choice, warning=warning)
    return rows, choice


def _step(row: Row) -> int:
    return row.step or 0


def _failures(row: Row, base: Row, gates: Gates, compare: Compare) -> tuple[str, ...]:
    failures = [f"cannot be chosen: {row.problem}"] if row.problem else []
    ended, looped = row.metrics.get("ended_share"), row.metrics.get("looped_share")
    if ended and ended.value < gates.min_ended_share:
        failures.append(
            f"only {_percent(ended.value)} of its sentences end by themselves; "
            f"{_percent(gates.min_ended_share)} must"
        )
    if looped and looped.value > gates.max_looped_share:
        failures.append(
            f"{_percent(looped.value)} of its speech repeats itself; "
            f"{_percent(gates.max_looped_share)} may"
        )
    errors = compare(row, base, ERROR_RATE)
    if errors and errors.value > gates.max_cer_increase and errors.low > 0:
        failures.append(
            f"its character error rate is {_difference(errors)} above the base's; "
            f"{gates.max_cer_increase:g} is allowed"
        )
    return tuple(failures)


def _least_bad(checkpoints: Sequence[Row]) -> Choice:
    def badness(row: Row) -> tuple[float, ...]:
        errors, ended = row.metrics.get(ERROR_RATE), row.metrics.get("ended_share")
        return (
            len(row.failures),
            errors.value if errors else 0,
            -ended.value if ended else 0,
            _step(row),
        )

    ranked = sorted(checkpoints, key=badness)
    best = ranked[0]
    return Choice(
        checkpoint=best.name,
        reason="It is the least bad: it fails the fewest gates and, of those that fail as many, "
        "makes the fewest errors.",
        warning=f"No checkpoint passes every gate. {best.name} is the least bad: "
        + ", and ".join(best.failures)
        + ".",
        compare_first=tuple(row.name for row in ranked[:2]),
    )


def _most_similar(
    passing: Sequence[Row], base: Row, compare: Compare, wins: Mapping[str, int]
) -> Choice:
    measured = all(SIMILARITY.metric in row.metrics for row in (*passing, base))
    voice = SIMILARITY if measured else DIFFERENCE

    def similarity(row: Row) -> float:
        interval = row.metrics.get(voice.metric)
        return voice.sign * interval.value if interval else 0

    better = [row for row in passing if _is_better(row, base, voice, compare)]
    pool = better or passing
    # Of equals the earliest is first, here and in max(): the rows are sorted by step.
    ranked = sorted(passing, key=lambda row: (row in pool, similarity(row)), reverse=True)
    tied = [row for row in pool if is_tie(compare(row, ranked[0], voice.metric))]
    chosen = max(tied, key=lambda row: wins.get(row.name, 0))
    return Choice(
        checkpoint=chosen.name,
        reason=_reason(chosen, tied, len(passing), wins, _figures(chosen, base, voice)),
        warning=None if better else _no_better(chosen, base, voice, compare),
        compare_first=tuple(row.name for row in (tied if len(tied) > 1 else ranked[:2])),
    )


def _is_better(row: Row, base: Row, voice: _Voice, compare: Compare) -> bool:
    of_voice, of_errors = compare(row, base, voice.metric), compare(row, base, ERROR_RATE)
    return bool(
        (of_voice and not is_tie(of_voice) and of_voice.value * voice.sign > 0)
        or (of_errors and of_errors.high < 0)
    )


def _no_better(chosen: Row, base: Row, voice: _Voice, compare: Compare) -> str:
    parts = [
        f"{words} {_difference(difference)}"
        for words, metric in ((voice.words, voice.metric), ("character error rate", ERROR_RATE))
        if (difference := compare(chosen, base, metric))
    ]
    return (
        "No checkpoint is better than the base. "
        f"Differences of {chosen.name} from the base: " + ", ".join(parts) + "."
    )


def _figures(chosen: Row, base: Row, voice: _Voice) -> str:
    if voice.metric not in chosen.metrics or voice.metric not in base.metrics:
        return "(the voice could not be measured)"
    of_chosen, of_base = chosen.metrics[voice.metric], base.metrics[voice.metric]
    return f"({voice.words} {of_chosen.value:.2f}, base {of_base.value:.2f})"


def _reason(
    chosen: Row, tied: Sequence[Row], num_passing: int, wins: Mapping[str, int], figures: str
) -> str:
    if num_passing == 1:
        return f"No other checkpoint passes every gate {figures}."
    of_passing = f"Of the {num_passing} checkpoints that pass every gate,"
    others = [row for row in tied if row is not chosen]
    if not others:
        return f"{of_passing} it has the voice most similar to the speaker's {figures}."
    won = wins.get(chosen.name, 0)
    why = "it is the earliest of these"
    if any(wins.get(row.name, 0) < won for row in others):
        why = f"of these, it won most comparisons of the blind test ({won})"
    return (
        f"{of_passing} it has one of the voices most similar to the speaker's {figures}. It ties "
        f"with {', '.join(row.name for row in others)}; {why}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _difference(difference: Interval) -> str:
    return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
