"""Stage ``check``: report what in the data may harm training. It never stops a run."""

import functools
import time
from pathlib import Path

from pydantic import TypeAdapter

from fishdvc.audio import measures
from fishdvc.audio.measures import AudioMeasures, measure_audio
from fishdvc.audio.waveform import read_waveform
from fishdvc.corpus.clips import Clip, find_clips, read_transcript
from fishdvc.corpus.findings import DataReport
from fishdvc.corpus.measured import MeasuredClip
from fishdvc.corpus.report import CheckParams, Target, build_report
from fishdvc.corpus.report_text import format_report, one_line, write_report
from fishdvc.errors import AudioError, DatasetError
from fishdvc.parallel import map_in_processes
from fishdvc.pipeline.normalize import NormalizeParams, hash_of_audio
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.storage.atomic import write_text
from fishdvc.storage.cache import FileCache, combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.text.clean import strip_annotations
from fishdvc.text.tokenizer import Tokenizer, load_tokenizer

_MEASURES = TypeAdapter(AudioMeasures)


def check(
    dataset: DatasetParams,
    params: CheckParams,
    normalize: NormalizeParams,
    *,
    max_length: int,
    workers: int,
    base: Path,
    report: Path,
    text: Path,
) -> str:
    """Write the data report as JSON and as text.

    The tokenizer is that of the model in ``base``. Other arguments are those of
    ``report_on_data``.

    Returns:
        Summary of the stage in one line.

    Raises:
        CheckpointError: The tokenizer cannot be loaded.
        DatasetError: As ``report_on_data``.
    """
    start_s = time.monotonic()
    tokenizer = load_tokenizer(base)
    found = report_on_data(
        dataset, params, normalize, max_length=max_length, workers=workers, tokenizer=tokenizer
    )
    write_report(report, found)
    write_text(text, format_report(found))
    return f"check: {one_line(found)}, see {text}, {time.monotonic() - start_s:.1f} s"


def report_on_data(
    dataset: DatasetParams,
    params: CheckParams,
    normalize: NormalizeParams,
    *,
    max_length: int,
    workers: int,
    tokenizer: Tokenizer | None,
) -> DataReport:
    """Measure the clips of a dataset and compare them with the thresholds.

    Measures are kept by content in ``.fishdvc_cache/``, so that a new clip costs one clip.

    Args:
        dataset: Section of params.yaml.
        params: Thresholds of the warnings.
        normalize: Parameters of the stage ``normalize``, whose result is predicted.
        max_length: Longest clip that is trained on, in tokens.
        workers: Number of processes. 0: one per core.
        tokenizer: Tokenizer of the base. None: see ``Target``.

    Raises:
        DatasetError: The folder of the dataset does not exist or has no clips.
    """
    found = find_clips(Path(dataset.path), dataset.text_extension)
    code = imported_files(Path(measures.__file__))
    measure = functools.partial(
        _measure_clip,
        normalize=normalize,
        cache=project_cache("check"),
        code=combined_key(*map(content_hash, code)),
    )
    results = list(map_in_processes(measure, found.clips, workers=workers, label="check"))
    return build_report(
        [result for result in results if isinstance(result, MeasuredClip)],
        found.problems
        + [line for result in results if isinstance(result, list) for line in result],
        params,
        Target(
            loudness_lufs=normalize.target_loudness_lufs,
            peak_ceiling_dbfs=normalize.peak_ceiling_dbfs,
            max_length=max_length,
            tokenizer=tokenizer,
        ),
    )


def _measure_clip(
    clip: Clip, *, normalize: NormalizeParams, cache: FileCache, code: str
) -> MeasuredClip | list[str]:
    """Return the measures of a clip, or its problems: up to one of transcript and audio each."""
    problems = []
    try:
        text = strip_annotations(read_transcript(clip.transcript))
    except DatasetError as error:
        problems.append(str(error))
    try:
        audio = _measure_audio(clip.audio, normalize, cache, code)
        if audio.duration_s < normalize.min_duration_s:
            problems.append(
                f"{clip.audio}: {audio.duration_s:.3f} s, shorter than normalize.min_duration_s "
                f"({normalize.min_duration_s:g})"
            )
    except AudioError as error:
        problems.append(str(error))
    return problems or MeasuredClip(clip=clip, text=text, audio=audio)


def _measure_audio(
    path: Path, normalize: NormalizeParams, cache: FileCache, code: str
) -> AudioMeasures:
    threshold_dbfs = normalize.silence_threshold_dbfs
    key = combined_key(hash_of_audio(path), threshold_dbfs, code)

    def write(measured: Path) -> None:
        audio = measure_audio(read_waveform(path), silence_threshold_dbfs=threshold_dbfs)
        measured.write_bytes(_MEASURES.dump_json(audio))

    try:
        return _MEASURES.validate_json(cache.content(key, write))
    except AudioError as error:
        where = "" if str(error).startswith(str(path)) else f"{path}: "
        raise AudioError(f"{where}{error}") from error
