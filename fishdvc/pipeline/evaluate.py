"""Stage ``evaluate``: let each checkpoint speak, measure the speech, and choose a checkpoint."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from fishdvc.codec.config import CodecConfig
from fishdvc.corpus.report_text import read_report
from fishdvc.errors import DatasetError, ParamsError
from fishdvc.evaluation.judges import OptionalJudge, load_judges, measure
from fishdvc.evaluation.page.page import write_page
from fishdvc.evaluation.players import write_players
from fishdvc.evaluation.ranking import Gates
from fishdvc.evaluation.recordings import read_recordings, voice_clips
from fishdvc.evaluation.rows import (
    BASE,
    BOUNDS,
    Finished,
    Spoken,
    choose_voices,
    rank_rows,
    speak_rows,
)
from fishdvc.evaluation.sentences import (
    Clip,
    Limits,
    Task,
    plan_tasks,
    read_clips,
    read_own_sentences,
)
from fishdvc.evaluation.speech import Speaker
from fishdvc.evaluation.tables import checkpoint_table, chosen_checkpoint, figures, read_curves
from fishdvc.evaluation.votes import Vote, read_votes
from fishdvc.generation.settings import Sampling
from fishdvc.machine import MachineParams
from fishdvc.model.config import read_config
from fishdvc.parallel import map_in_threads
from fishdvc.pipeline.extract_vq import ExtractVqParams, find_codec_config
from fishdvc.pipeline.shared_params import OUTPUTS, BaseParams, external_path
from fishdvc.storage.atomic import atomic_folder, write_metrics, write_text
from fishdvc.storage.cache import project_cache
from fishdvc.validation import Items, shown

SENTENCES = Path("data/eval_sentences.txt")
"""The user's sentences. dvc.yaml lists the file as a dependency of the stage."""


def _check_steps(value: Any) -> Any:
    """Check ``evaluate.checkpoints``. Pydantic would name each type of the union as a problem."""
    steps = value if isinstance(value, (list, tuple)) else [value]
    if value == "all" or (steps and all(type(step) is int and step > 0 for step in steps)):
        return value
    raise PydanticCustomError("steps", "all, a number from 1, or a list of steps from 1")


class EvaluateParams(Gates):
    """Section ``evaluate`` of params.yaml."""

    checkpoints: Annotated[str | int | Sequence[int], PlainValidator(_check_steps)] = Field(
        description="Checkpoints that speak: all, every Nth, or a list of steps."
    )
    num_held_out: int = Field(description="Held-out transcripts that they speak.", ge=1)
    sentences: str | None = Field(
        description=f"Your sentences: {SENTENCES}, or a file in data/external/evaluate."
    )
    seed: int = Field(description="Chooses the transcripts, and is the seed of speech.", ge=0)
    temperature: float = Field(description="Temperature of sampling.", gt=0)
    top_p: float = Field(description="Probability of the nucleus of sampling.", gt=0, le=1)
    repetition_penalty: float = Field(description="Penalty of recent codes.", gt=0)
    max_length_ratio: float = Field(
        description="Speech is cut at this multiple of its expected duration, and 1 s more.", gt=1
    )
    optional_metrics: Items[OptionalJudge] = Field(
        description="Metrics to measure if their packages are installed."
    )
    asr_model: str | None = Field(
        description="Recognizer: a name of faster-whisper, or a folder in data/external/evaluate."
    )
    listening_votes: str | None = Field(
        description="File that the page's blind test exports, in data/external/evaluate."
    )

    def inconsistencies(self) -> Iterator[str]:
        """Yield paths that are empty."""
        for name in ("sentences", "asr_model", "listening_votes"):
            if getattr(self, name) == "":
                yield f"{name}: must not be empty; write null to leave it out"


def evaluate(
    params: EvaluateParams,
    base_params: BaseParams,
    extract_vq: ExtractVqParams,
    machine: MachineParams,
    *,
    base: Path,
    normalized: Path,
    protos: Path,
    lora: Path,
    curves: Path,
    table: Path,
    choice: Path,
    report: Path,
    metrics: Path,
    data_report: Path | None = None,
) -> str:
    """Let the base and each checkpoint speak the same sentences with the same seeds, and compare.

    Speech, values and the files of the page are cached, so one more checkpoint costs the time of
    one checkpoint, and a killed run continues. The same inputs give the same bytes.

    Args:
        params: Section ``evaluate``.
        base_params: Section ``base``, for the name of the codec's file.
        extract_vq: Section of params.yaml, for the config of the codec.
        machine: Section of params.yaml.
        base: Folder of the base model.
        normalized: Folder of normalized clips.
        protos: Folder of shards, ``train/`` and ``val/``.
        lora: Folder of adapters with their list.
        curves: DVCLive's folder of the training.
        table: CSV file to write, a line for the base and for each checkpoint.
        choice: JSON file to write the chosen checkpoint to, for the stage ``merge``.
        report: Folder to write the listening page to.
        metrics: File to write six figures of the chosen checkpoint and of the base to.
        data_report: Report of the stage ``check``, which the page shows.

    Returns:
        A summary in one line, and a second line if no checkpoint passes or is better than the base.

    Raises:
        ParamsError: A file of a parameter is not tracked by DVC or is damaged, or there is no such
            checkpoint.
        DatasetError: Shards or sentences cannot be used.
        AudioError: A normalized clip cannot be read.
        CheckpointError: The base, the codec or an adapter cannot be loaded.
    """
    start_s = time.monotonic()
    voices = choose_voices(lora, params.checkpoints, read_config(base / "config.json"))
    votes: Sequence[Vote] = ()
    if params.listening_votes is not None:
        votes = read_votes(_external_file(params.listening_votes, "listening_votes"))
    codec_file = base / base_params.codec_file
    codec_config = find_codec_config(extract_vq, codec_file)
    config = CodecConfig.read(codec_config)
    held_out = read_clips(protos / "val")
    tasks = _plan(params, held_out, base, config)
    training = read_clips(protos / "train")
    cache = project_cache("evaluate")
    speaker = Speaker(
        base=base,
        codec_file=codec_file,
        codec_config=codec_config,
        device_name=machine.accelerator,
        tasks=tasks,
        sampling=Sampling(
            temperature=params.temperature,
            top_p=params.top_p,
            repetition_penalty=params.repetition_penalty,
        ),
        cache=cache,
    )
    read = partial(read_recordings, normalized=normalized, sample_rate_hz=config.sample_rate_hz)
    of_speakers = voice_clips([*held_out, *training], tasks)
    judges, not_measured = load_judges(
        {name: read(clips) for name, clips in of_speakers.items()},
        optional=params.optional_metrics,
        asr_model=_asr_model(params),
    )
    with atomic_folder(report) as page:

        def finish(spoken: Spoken) -> Finished:
            measures = measure(judges, spoken.key, spoken.utterances, cache)
            players = write_players(
                page, spoken.voice.name, spoken.key, spoken.utterances, measures, cache
            )
            return Finished(spoken.voice, measures, players)

        finished = list(
            map_in_threads(
                finish,
                speak_rows(voices, speaker, tasks, read),
                workers=machine.workers,
                label="evaluate",
                total=len(voices),
            )
        )
        evaluation = rank_rows(
            finished,
            gates=params,
            votes=votes,
            sentences=[task.sentence for task in tasks],
            metrics=[metric for judge in judges for metric in judge.metrics],
            not_measured=not_measured,
        )
        write_page(
            page,
            evaluation,
            curves=read_curves(curves),
            data_report=read_report(data_report) if data_report else None,
        )
    write_text(table, checkpoint_table(evaluation))
    chosen = evaluation.choice
    rows = {row.name: row for row in evaluation.rows}
    of_chosen, of_base = figures(rows[chosen.checkpoint]), figures(rows[BASE])
    write_metrics(
        metrics,
        {
            "chosen_step": rows[chosen.checkpoint].step or 0,
            **of_chosen,
            **{f"base_{name}": value for name, value in of_base.items()},
        },
    )
    hours = sum(clip.num_frames for clip in training) / config.frame_rate_hz / 3600
    chosen_checkpoint(evaluation, num_clips=len(training), hours=hours).write(choice)
    summary = (
        f"evaluate: {chosen.checkpoint} of {len(voices) - len(BOUNDS) - 1} checkpoints, "
        f"{len(tasks)} utterances each, {_listed(of_chosen)} (base: {_listed(of_base)}), "
        f"{time.monotonic() - start_s:.1f} s; listen: {report / 'index.html'}"
    )
    lines = [*evaluation.not_measured, f"warning: {chosen.warning}" if chosen.warning else ""]
    return "\n".join([*filter(None, lines), summary])


def _plan(
    params: EvaluateParams, held_out: Sequence[Clip], base: Path, config: CodecConfig
) -> list[Task]:
    path = params.sentences and Path(params.sentences)
    if path and path.absolute() != SENTENCES.absolute():
        path = _external_file(str(path), "sentences")
    limits = Limits(
        frame_rate_hz=config.frame_rate_hz,
        max_seq_len=read_config(base / "config.json").max_seq_len,
        max_length_ratio=params.max_length_ratio,
    )
    tasks = plan_tasks(
        held_out,
        read_own_sentences(path) if path else [],
        num_held_out=params.num_held_out,
        seed=params.seed,
        limits=limits,
    )
    if not tasks:
        raise DatasetError(
            "evaluate: every held-out clip is too long for the model, and there are no sentences "
            "of your own; add shorter clips, or set evaluate.sentences"
        )
    return tasks


def _external_file(value: str, param: str) -> Path:
    if not Path(value).is_file():
        raise ParamsError(
            f"evaluate.{param}: expected an existing file in data/external/evaluate, got "
            f"{shown(value)}"
        )
    return external_path(value, stage="evaluate", param=f"evaluate.{param}")


def _asr_model(params: EvaluateParams) -> str | None:
    """Return the recognizer's name or folder. A folder must be where DVC tracks it."""
    model = params.asr_model
    is_path = model and (Path(model).exists() or Path(model).is_relative_to(OUTPUTS))
    if model and is_path:
        external_path(model, stage="evaluate", param="evaluate.asr_model")
    return model


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
