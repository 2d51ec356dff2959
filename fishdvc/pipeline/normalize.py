"""Stage ``normalize``: write each clip as mono FLAC at one loudness, and its transcript."""

import functools
import hashlib
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from pydantic import Field

from fishdvc.audio import waveform
from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.corpus.bad_clips import fail_or_report
from fishdvc.corpus.clips import Clip, find_clips, read_transcript
from fishdvc.corpus.numbers import counted, duration
from fishdvc.errors import AudioError, DatasetError
from fishdvc.parallel import map_in_processes, map_in_threads
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import Entry, FileCache, combined_key, content_hash, project_cache
from fishdvc.storage.imports import imported_files
from fishdvc.storage.manifest import MANIFEST, write_manifest
from fishdvc.validation import Checked

AT_TARGET = "at the target loudness"
LIMITED_BY_PEAK = "limited by the peak ceiling"
"""Comments in the FLAC files, so that ``limited_by_peak`` is known for cache hits."""
CODE = (
    __file__,
    *map(str, imported_files(Path(waveform.__file__))),
    *map(str, imported_files(Path(waveform.__file__).with_name("loudness.py"))),
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


@dataclass(kw_only=True)
class _Result:
    """A clip, the files to write, its key in the cache, and up to one problem of each input.

    ``entries`` has the files that are written and whose hashes are known.
    """

    clip: Clip
    audio: Path
    transcript: Path
    key: str = ""
    from_cache: bool = False
    entries: dict[Path, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


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
    cache = project_cache("normalize")
    settings = combined_key(params, *(content_hash(Path(file)) for file in CODE))
    with atomic_folder(normalized) as folder:
        results = [
            _Result(
                clip=clip,
                audio=folder / f"{clip.name}.flac",
                transcript=folder / f"{clip.name}{dataset.text_extension}",
            )
            for clip in clips
        ]
        for speaker_folder in {result.audio.parent for result in results}:
            speaker_folder.mkdir(parents=True, exist_ok=True)
        fetch = functools.partial(_fetch, cache=cache, settings=settings)
        deque(map_in_threads(fetch, results, workers=workers, label="read clips"), maxlen=0)
        new = [result for result in results if result.key and not result.from_cache]
        write = functools.partial(_write, params=params, cache=cache)
        written = map_in_processes(write, new, workers=workers, label="normalize")
        for result, new_problems in zip(new, written, strict=True):
            result.problems += new_problems
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
        for result in results:
            if result.problems:
                result.audio.unlink(missing_ok=True)
                result.transcript.unlink(missing_ok=True)
        headers = [_read_header(result.audio) for result in good]
        write_manifest(
            folder / MANIFEST,
            folder,
            [path for result in good for path in (result.audio, result.transcript)],
            known={
                path.relative_to(folder).as_posix(): entry
                for result in good
                for path, entry in result.entries.items()
            },
        )
    durations_s = [duration_s for duration_s, _ in headers]
    audio_s = sum(durations_s)
    num_speakers = len({result.clip.speaker for result in good})
    write_metrics(metrics, {"num_clips": len(good), "hours": round(audio_s / 3600, 4)})
    return (
        f"normalize: {counted(len(good), 'clip')} of {counted(num_speakers, 'speaker')}, "
        f"{duration(audio_s)} of audio, "
        f"{min(durations_s):.1f} to {max(durations_s):.1f} s a clip, "
        f"{sum(limited for _, limited in headers)} under the target loudness for their "
        f"peaks, {num_skipped} skipped, {sum(result.from_cache for result in good)} unchanged, "
        f"{counted(len(notes), 'note')} in {skipped}, {time.monotonic() - start_s:.1f} s"
    )


def _fetch(result: _Result, *, cache: FileCache, settings: str) -> None:
    """Write the transcript, and the audio if it is in the cache."""
    try:
        text = read_transcript(result.clip.transcript)
    except DatasetError as error:
        result.problems.append(str(error))
    else:
        result.transcript.write_text(text, encoding="utf-8", newline="\n")
        content = text.encode()
        result.entries[result.transcript] = len(content), hashlib.sha256(content).hexdigest()
    try:
        result.key = combined_key(hash_of_audio(result.clip.audio), settings)
    except AudioError as error:
        result.problems.append(str(error))
    else:
        if entry := cache.fetch(result.key, result.audio):
            result.entries[result.audio] = entry
            result.from_cache = True


def _write(result: _Result, *, params: NormalizeParams, cache: FileCache) -> list[str]:
    """Compute, write and store the audio. Return problems of the clip."""
    try:
        normalized, limited_by_peak = read_normalized(result.clip.audio, params)
        comment = LIMITED_BY_PEAK if limited_by_peak else AT_TARGET
        write_flac(result.audio, normalized, comment=comment)
    except AudioError as error:
        return [str(error)]
    cache.store(result.key, result.audio)
    return []


def _read_header(audio: Path) -> tuple[float, bool]:
    """Return the seconds of a clip, and whether the peak ceiling limits its loudness."""
    with soundfile.SoundFile(os.fsencode(audio)) as file:
        return file.frames / file.samplerate, file.comment == LIMITED_BY_PEAK


def hash_of_audio(path: Path) -> str:
    """Return the ``content_hash`` of an audio file.

    Raises:
        AudioError: The file cannot be read.
    """
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
    # This imports scipy, which takes a second, and clips in the cache do not need it.
    from fishdvc.audio.loudness import loudness_gain

    recorded = read_waveform(source)
    if recorded.duration_s < params.min_duration_s:
        raise AudioError(
            f"{source}: {recorded.duration_s:.3f} s, shorter than normalize.min_duration_s "
            f"({params.min_duration_s:g}); remove the clip, or set a smaller value"
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
