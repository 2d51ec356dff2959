"""The rows of an evaluation: what speaks them, their speech, and their ranking."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fishdvc.errors import CheckpointError, ParamsError, list_problems
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
from fishdvc.evaluation.votes import Vote, count_wins
from fishdvc.lora.checkpoint_list import Checkpoint, read_checkpoints
from fishdvc.lora.files import read_adapter
from fishdvc.lora.targets import adaptable_shapes, mismatches
from fishdvc.model.config import DualARConfig
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
    """What speaks a row.

    Attributes:
        name: Name of the row.
        kind: Kind of the row.
        step: Optimizer step, 0 for the base. None for the bounds.
        val_loss: Validation loss. None for the bounds.
        adapter: Folder of the adapter. None for other rows, and if it cannot be used.
        problem: Why the checkpoint cannot be chosen: its adapter cannot be used or is untrained.
    """

    name: str
    kind: RowKind
    step: int | None = None
    val_loss: float | None = None
    adapter: Path | None = None
    problem: str | None = None


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


def choose_voices(
    lora: Path, steps: str | int | Sequence[int], config: DualARConfig
) -> list[Voice]:
    """Choose what speaks the rows, in the order of the table.

    Args:
        lora: Folder of adapters with their list.
        steps: ``all``, a number N for every Nth checkpoint and the last one, or a list of steps.
        config: Sizes of the base, which the adapters must fit.

    Raises:
        ParamsError: There is no checkpoint of a listed step.
        CheckpointError: The list of adapters is damaged or empty, or none can be chosen.
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
    shapes = adaptable_shapes(config)
    voices = [_voice(lora, checkpoint, shapes) for checkpoint in chosen]
    problems = [f"{voice.name}: {voice.problem}" for voice in voices if voice.problem]
    if len(problems) == len(voices):
        raise CheckpointError(
            list_problems("evaluate: no checkpoint can be chosen; run train_lora again", problems)
        )
    return [
        *(Voice(name=bound, kind=bound) for bound in BOUNDS),
        Voice(name=BASE, kind="base", step=0, val_loss=base.val_loss),
        *voices,
    ]


def _voice(lora: Path, checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, int]]) -> Voice:
    """Check an adapter. An untrained one speaks, but ``merge`` would refuse it."""
    voice = Voice(
        name=str(checkpoint.folder),
        kind="checkpoint",
        step=checkpoint.step,
        val_loss=checkpoint.val_loss,
    )
    folder = lora / voice.name
    try:
        adapter = read_adapter(folder, allow_untrained=True)
    except CheckpointError as error:
        # The summary and the first problem.
        return replace(voice, problem=" ".join(str(error).splitlines()[:2]))
    if differences := mismatches(shapes, adapter):
        return replace(voice, problem=f"it does not fit this base: {differences[0]}")
    untrained = all(module.changes_nothing for module in adapter.modules.values())
    problem = "it is untrained: it changes nothing" if untrained else None
    return replace(voice, adapter=folder, problem=problem)


def speak_rows(
    voices: Sequence[Voice],
    speaker: Speaker,
    tasks: Sequence[Task],
    read: Callable[[Sequence[Clip]], list[Utterance]],
) -> Iterator[Spoken]:
    """Yield the speech of each row. For the recordings, ``read`` reads clips.

    A checkpoint without an adapter says nothing.
    """
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
        elif voice.kind == "base" or voice.adapter:
            key, utterances = speaker.speak(voice.adapter)
        else:
            key, utterances = "", {}
        yield Spoken(voice, key, utterances)


def rank_rows(
    finished: Sequence[Finished],
    *,
    gates: Gates,
    votes: Sequence[Vote],
    sentences: Sequence[Sentence],
    metrics: Sequence[Metric],
    not_measured: Sequence[str],
) -> Evaluation:
    """Average the values of each row, and choose a checkpoint.

    Votes of the blind test count if they compare speech of these rows.
    """
    players = {row.voice.name: row.players for row in finished}
    wins, uncounted = count_wins(votes, players)
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
        known = {VAL_LOSS.name: voice.val_loss, VOTES.name: wins.get(voice.name)}
        single = {k: Interval(value=v, low=v, high=v) for k, v in known.items() if v is not None}
        rows.append(replace(row, metrics={**single, **row.metrics}, problem=voice.problem))
    rows, choice = choose(rows, values, gates, wins)
    measured = {name for row in rows for name in row.metrics}
    columns = [m for m in (VOTES, *metrics, VAL_LOSS) if m.name in measured]
    columns.sort(key=lambda m: DECIDING.index(m.name) if m.name in DECIDING else len(DECIDING))
    return Evaluation(
        metrics=tuple(columns),
        rows=tuple(rows),
        sentences=tuple(sentences),
        players=players,
        choice=choice,
        not_measured=(*not_measured, *uncounted),
    )
