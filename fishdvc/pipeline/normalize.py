"""Stage ``normalize``: write each clip as mono FLAC at one loudness, and its transcript."""

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from pydantic import Field

from fishdvc.audio import loudness, waveform
from fishdvc.audio.loudness import loudness_gain
from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.corpus.bad_clips import fail_or_report
from fishdvc.corpus.clips import Clip, find_clips, read_transcript
from fishdvc.errors import AudioError, DatasetError
from fishdvc.parallel import map_in_processes
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import FileCache, combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.validation import Checked

AT_TARGET = "at the target loudness"
LIMITED_BY_PEAK = "limited by the peak ceiling"
"""Comments in the FLAC files, so that ``limited_by_peak`` is known for cache hits."""
CODE = (
    __file__,
    *map(str, imported_files(Path(waveform.__file__))),
    *map(str, imported_files(Path(loudness.__file__))),
)
"""Source files that compute the audio."""


class NormalizeParams(Checked):
    """Section ``normalize`` of params.yaml."""

    target_loudness_lufs: float = Field(
        description="Integrated loudness of every clip, in LUFS.", ge=-70, le=0
    )
    min_duration_s: float = Field(
        description="A clip shorter than this is an error. The published codec needs 0.047 s.", ge=0
    )
    peak_ceiling_dbfs: float = Field(description="No sample gets louder than this, in dBFS.", le=0)
    silence_threshold_dbfs: float = Field(
        description="A clip with no sample above this is silence, in dBFS.", le=0
    )


@dataclass(frozen=True, kw_only=True)
class _Result:
    """Result of one clip, or its problems: up to one of the transcript and one of the audio."""

    speaker: str = ""
    duration_s: float = 0.0
    limited_by_peak: bool = False
    from_cache: bool = False
    problems: tuple[str, ...] = ()


def normalize(
    dataset: DatasetParams,
    params: NormalizeParams,
    *,
    workers: int,
    normalized: Path,
    skipped: Path,
    metrics: Path,
) -> str:
    """Write FLAC files and UTF-8 transcripts to the same folder tree as the dataset.

    Args:
        dataset: Folder of the dataset, and what to do with bad clips.
        params: Loudness, peak ceiling, silence threshold and shortest duration.
        workers: Number of processes. 0: one per core.
        normalized: Folder to write. Replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts and hours of audio to.

    Returns:
        Summary of the stage in one line.

    Raises:
        DatasetError: Clips are bad and ``on_bad_clip`` is ``fail``, or no clip is usable. The
            message lists bad clips.
    """
    start_s = time.monotonic()
    clips, problems, notes = find_clips(Path(dataset.path), dataset.text_extension)
    with atomic_folder(normalized) as folder:
        work = functools.partial(
            _normalize_clip,
            folder=folder,
            params=params,
            text_extension=dataset.text_extension,
            cache=project_cache("normalize"),
            code=combined_key(*(content_hash(Path(file)) for file in CODE)),
        )
        results = list(map_in_processes(work, clips, workers=workers, label="normalize"))
        good = [result for result in results if not result.problems]
        num_skipped = len(problems) + len(results) - len(good)
        fail_or_report(
            "normalize",
            problems + [line for result in results for line in result.problems],
            num_good=len(good),
            on_bad_clip=dataset.on_bad_clip,
            report=skipped,
            notes=notes,
        )
    durations_s = [result.duration_s for result in good]
    hours = sum(durations_s) / 3600
    num_speakers = len({result.speaker for result in good})
    write_metrics(metrics, {"num_clips": len(good), "hours": round(hours, 4)})
    return (
        f"normalize: {len(good)} clips of {num_speakers} speakers, {hours:.2f} h of audio, "
        f"{min(durations_s):.1f} to {max(durations_s):.1f} s a clip, "
        f"{sum(result.limited_by_peak for result in good)} under the target loudness for their "
        f"peaks, {num_skipped} skipped, {sum(result.from_cache for result in good)} unchanged, "
        f"{len(notes)} notes in {skipped}, {time.monotonic() - start_s:.1f} s"
    )


def _normalize_clip(
    clip: Clip,
    *,
    folder: Path,
    params: NormalizeParams,
    text_extension: str,
    cache: FileCache,
    code: str,
) -> _Result:
    """Write one clip and its transcript below ``folder``. If either is bad, write neither."""
    audio = folder / f"{clip.name}.flac"
    audio.parent.mkdir(parents=True, exist_ok=True)
    problems = []
    try:
        text = read_transcript(clip.transcript)
    except DatasetError as error:
        problems.append(str(error))
    from_cache = False
    try:
        key = combined_key(_hash_of_audio(clip.audio), params, code)
        from_cache = cache.fetch(key, audio)
        if not from_cache:
            normalized, limited_by_peak = read_normalized(clip.audio, params)
            comment = LIMITED_BY_PEAK if limited_by_peak else AT_TARGET
            write_flac(audio, normalized, comment=comment)
            cache.store(key, audio)
    except AudioError as error:
        problems.append(str(error))
    if problems:
        audio.unlink(missing_ok=True)
        return _Result(problems=tuple(problems))
    audio.with_name(f"{audio.stem}{text_extension}").write_text(text, encoding="utf-8")
    with soundfile.SoundFile(os.fsencode(audio)) as file:
        return _Result(
            speaker=clip.speaker,
            duration_s=file.frames / file.samplerate,
            limited_by_peak=file.comment == LIMITED_BY_PEAK,
            from_cache=from_cache,
        )


def _hash_of_audio(path: Path) -> str:
    try:
        return content_hash(path)
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be read ({error.strerror}); check its permissions and the disk"
        ) from error


def read_normalized(source: Path, params: NormalizeParams) -> tuple[Waveform, bool]:
    """Read a clip and amplify it to the target loudness.

    Returns:
        The clip, and whether the peak ceiling keeps it below the target loudness.

    Raises:
        AudioError: The file cannot be read, is too short, or contains silence.
    """
    recorded = read_waveform(source)
    if recorded.duration_s < params.min_duration_s:
        raise AudioError(
            f"{source}: {recorded.duration_s:.3f} s, shorter than normalize.min_duration_s "
            f"({params.min_duration_s:g}); remove the clip"
        )
    try:
        change = loudness_gain(
            recorded.samples,
            recorded.sample_rate_hz,
            **params.model_dump(exclude={"min_duration_s"}),
        )
    except AudioError as error:
        raise AudioError(f"{source}: {error}") from error
    samples = recorded.samples * np.float32(change.gain)
    normalized = Waveform(samples=samples, sample_rate_hz=recorded.sample_rate_hz)
    return normalized, change.limited_by_peak
