"""The rows of an evaluation: what speaks them, their speech, and their ranking."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.evaluation.bootstrap import summarize
from fishdvc.evaluation.ranking import Gates, choose
from fishdvc.evaluation.results import (
    Evaluation,
    Interval,
    Measures,
    Metric,
    Player,
    RowKind,
    Sentence,
    Utterance,
)
from fishdvc.evaluation.sentences import Clip, Task
from fishdvc.evaluation.speech import Speaker
from fishdvc.lora.checkpoint_list import read_checkpoints
from fishdvc.storage.cache import combined_key

BASE = "base"
BOUNDS: tuple[RowKind, ...] = ("recording", "codec")
"""Rows that show how good speech can be."""
DECIDING = ("votes", "cer", "similarity", "voice_difference", "ended_share", "looped_share")
"""Metrics that the rule uses, the first columns of the table."""
VAL_LOSS = Metric(
    name="val_loss",
    title="Validation loss",
    better="lower",
    meaning="Loss on the held-out clips, in nats. It does not say how the speech sounds.",
    digits=3,
)
VOTES = Metric(
    name="votes",
    title="Blind test",
    better=None,
    meaning="Comparisons of the blind test that it won.",
    digits=0,
)


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What speaks a row."""

    name: str
    kind: RowKind
    step: int | None = None
    val_loss: float | None = None
    adapter: Path | None = None


class Spoken(NamedTuple):
    """The speech of a row: ``key`` is its hash, ``utterances`` are by name of the sentence."""

    voice: Voice
    key: str
    utterances: dict[str, Utterance]


class Finished(NamedTuple):
    """A row with its measures and players, by name of the sentence."""

    voice: Voice
    measures: dict[str, Measures]
    players: dict[str, Player]


def choose_voices(lora: Path, steps: str | int | Sequence[int]) -> list[Voice]:
    """Choose what speaks the rows, in the order of the table.

    Args:
        lora: Folder of adapters with their list.
        steps: ``all``, a number N for every Nth checkpoint and the last one, or a list of steps.

    Raises:
        ParamsError: There is no checkpoint of a listed step.
        CheckpointError: The list of adapters is damaged or empty.
    """
    base, *adapters = read_checkpoints(lora)
    chosen = adapters
    if isinstance(steps, int):
        # The last one is always included.
        chosen = adapters[::-1][::steps][::-1]
    elif not isinstance(steps, str):
        chosen = [checkpoint for checkpoint in adapters if checkpoint.step in steps]
        if missing := set(steps) - {checkpoint.step for checkpoint in chosen}:
            listed = ", ".join(str(checkpoint.step) for checkpoint in adapters)
            raise ParamsError(
                f"evaluate.checkpoints: no checkpoint of steps {sorted(missing)}; choose from "
                f"{listed}"
            )
    if not chosen:
        raise CheckpointError(f"{lora}: no adapter was saved; run train_lora for more steps")
    return [
        *(Voice(name=bound, kind=bound) for bound in BOUNDS),
        Voice(name=BASE, kind="base", step=0, val_loss=base.val_loss),
        *(
            Voice(
                name=str(checkpoint.folder),
                kind="checkpoint",
                step=checkpoint.step,
                val_loss=checkpoint.val_loss,
                adapter=lora / str(checkpoint.folder),
            )
            for checkpoint in chosen
        ),
    ]


def speak_rows(
    voices: Sequence[Voice],
    speaker: Speaker,
    tasks: Sequence[Task],
    read: Callable[[Sequence[Clip]], list[Utterance]],
) -> Iterator[Spoken]:
    """Yield the speech of each row. For the recordings, ``read`` reads clips."""
    for voice in voices:
        if voice.kind == "recording":
            recorded = [(task.sentence.name, task.recording) for task in tasks if task.recording]
            clips = read([clip for _, clip in recorded])
            utterances = dict(zip([name for name, _ in recorded], clips, strict=True))
            key = combined_key(
                *((name, c.text, c.samples.tobytes()) for name, c in utterances.items())
            )
        elif voice.kind == "codec":
            key, utterances = speaker.decode_recordings()
        else:
            key, utterances = speaker.speak(voice.adapter)
        yield Spoken(voice, key, utterances)


def rank_rows(
    finished: Sequence[Finished],
    *,
    gates: Gates,
    wins: Mapping[str, int] | None,
    sentences: Sequence[Sentence],
    metrics: Sequence[Metric],
    not_measured: Sequence[str],
) -> Evaluation:
    """Average the values of each row, and choose a checkpoint.

    ``wins`` are comparisons of the blind test that each row won; None without a blind test.
    """
    values = {
        row.voice.name: {name: found.values for name, found in row.measures.items()}
        for row in finished
    }
    rows = []
    for voice in (row.voice for row in finished):
        row = summarize(
            name=voice.name,
            kind=voice.kind,
            step=voice.step,
            values=values[voice.name],
            base=None if voice.kind == "base" else values[BASE],
        )
        # Single values without an interval.
        known = {VAL_LOSS.name: voice.val_loss, VOTES.name: (wins or {}).get(voice.name)}
        single = {k: Interval(value=v, low=v, high=v) for k, v in known.items() if v is not None}
        rows.append(replace(row, metrics={**single, **row.metrics}))
    rows, choice = choose(rows, values, gates, wins)
    measured = {name for row in rows for name in row.metrics}
    columns = [m for m in (VOTES, *metrics, VAL_LOSS) if m.name in measured]
    columns.sort(key=lambda m: DECIDING.index(m.name) if m.name in DECIDING else len(DECIDING))
    return Evaluation(
        metrics=tuple(columns),
        rows=tuple(rows),
        sentences=tuple(sentences),
        players={row.voice.name: row.players for row in finished},
        choice=choice,
        not_measured=tuple(not_measured),
    )
