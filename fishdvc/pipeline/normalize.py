"""Stage ``normalize``: bring every clip to one loudness, as mono FLAC, its transcript beside it.

Starts without torch.
"""

import functools
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
from fishdvc.parallel import map_files
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.storage.atomic import atomic_folder, write_metrics
from fishdvc.storage.cache import (
    FileCache,
    code_hash,
    combined_key,
    content_hash,
    project_cache,
)
from fishdvc.validation import Checked

AT_TARGET = "at the target loudness"
LIMITED_BY_PEAK = "limited by the peak ceiling"
"""Comments in the FLAC: so a clip out of the cache tells as much as one just made."""


class NormalizeParams(Checked):
    """Section ``normalize`` of params.yaml."""

    target_loudness_lufs: float = Field(
        description="Integrated loudness of every clip, in LUFS.", ge=-70, le=0
    )
    peak_ceiling_dbfs: float = Field(description="No sample gets louder than this, in dBFS.", le=0)
    silence_threshold_dbfs: float = Field(
        description="A clip with no sample above this is silence, in dBFS.", le=0
    )


@dataclass(frozen=True, kw_only=True)
class NormalizedClip:
    """What became of one clip.

    Attributes:
        duration_s: Its length; 0 where it could not be used.
        limited_by_peak: Whether the peak ceiling kept it under the target loudness.
        from_cache: Whether it had been made before.
        problems: What is wrong with its audio and its transcript, one line each.
    """

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
    """Write the normalized copy of a dataset: the same tree, FLAC and UTF-8 transcripts.

    Args:
        dataset: Where the clips are and what to do about bad ones.
        params: Loudness, ceiling and silence threshold.
        workers: Number of processes. 0: one per core.
        normalized: Folder to write; replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts and hours of audio to.

    Returns:
        One line for people.

    Raises:
        DatasetError: There is no usable clip, or there are bad ones and they may not be skipped;
            all of them are in the message.
    """
    start_s = time.monotonic()
    corpus = find_clips(Path(dataset.path), dataset.text_extension)
    work = functools.partial(
        normalize_clip,
        params=params,
        text_extension=dataset.text_extension,
        cache=project_cache("normalize"),
        code=code_hash([Path(__file__), Path(waveform.__file__), Path(loudness.__file__)]),
    )
    with atomic_folder(normalized) as folder:
        write = functools.partial(work, folder=folder)
        results = list(map_files(write, corpus.clips, workers=workers, label="normalize"))
        problems = [*corpus.problems, *(line for result in results for line in result.problems)]
        good = [result for result in results if not result.problems]
        num_skipped = len(results) - len(good) + len(corpus.problems)
        fail_or_report(
            "normalize",
            problems,
            num_good=len(good),
            on_bad_clip=dataset.on_bad_clip,
            report=skipped,
        )
    hours = sum(result.duration_s for result in good) / 3600
    pairs = zip(corpus.clips, results, strict=True)
    num_speakers = len({clip.speaker for clip, result in pairs if not result.problems})
    durations_s = [result.duration_s for result in good]
    num_limited = sum(result.limited_by_peak for result in good)
    num_unchanged = sum(result.from_cache for result in good)
    write_metrics(metrics, {"num_clips": len(good), "hours": round(hours, 4)})
    return (
        f"normalize: {len(good)} clips of {num_speakers} speakers, {hours:.2f} h of audio, "
        f"{min(durations_s):.1f} to {max(durations_s):.1f} s a clip, "
        f"{num_limited} under the target loudness for their peaks, "
        f"{num_skipped} skipped, {num_unchanged} unchanged, "
        f"{time.monotonic() - start_s:.1f} s"
    )


def normalize_clip(
    clip: Clip,
    *,
    folder: Path,
    params: NormalizeParams,
    text_extension: str,
    cache: FileCache,
    code: str,
) -> NormalizedClip:
    """Write one clip and its transcript below a folder, or say what is wrong with either."""
    audio = folder / f"{clip.name}.flac"
    audio.parent.mkdir(parents=True, exist_ok=True)
    problems = []
    try:
        text = read_transcript(clip.transcript)
    except DatasetError as error:
        problems.append(str(error))
    key = combined_key(
        content_hash(clip.audio),
        params.target_loudness_lufs,
        params.peak_ceiling_dbfs,
        params.silence_threshold_dbfs,
        code,
    )
    from_cache = cache.fetch(key, audio)
    if not from_cache:
        try:
            _write_normalized(clip.audio, audio, params)
            cache.store(key, audio)
        except AudioError as error:
            problems.append(str(error))
    if problems:
        # A skipped clip leaves nothing behind.
        audio.unlink(missing_ok=True)
        return NormalizedClip(problems=tuple(problems))
    (folder / f"{clip.name}{text_extension}").write_text(text, encoding="utf-8")
    with soundfile.SoundFile(audio) as file:
        return NormalizedClip(
            duration_s=file.frames / file.samplerate,
            limited_by_peak=file.comment == LIMITED_BY_PEAK,
            from_cache=from_cache,
        )


def _write_normalized(source: Path, destination: Path, params: NormalizeParams) -> None:
    normalized, limited_by_peak = read_normalized(source, params)
    write_flac(destination, normalized, comment=LIMITED_BY_PEAK if limited_by_peak else AT_TARGET)


def read_normalized(source: Path, params: NormalizeParams) -> tuple[Waveform, bool]:
    """Read a clip and bring it to the target loudness.

    Returns:
        The clip, and whether the peak ceiling kept it under the target loudness.

    Raises:
        AudioError: It cannot be read, or is silence.
    """
    recorded = read_waveform(source)
    try:
        change = loudness_gain(
            recorded.samples,
            recorded.sample_rate_hz,
            target_loudness_lufs=params.target_loudness_lufs,
            peak_ceiling_dbfs=params.peak_ceiling_dbfs,
            silence_threshold_dbfs=params.silence_threshold_dbfs,
        )
    except AudioError as error:
        raise AudioError(f"{source}: {error}") from error
    normalized = Waveform(
        samples=recorded.samples * np.float32(change.gain), sample_rate_hz=recorded.sample_rate_hz
    )
    return normalized, change.limited_by_peak
