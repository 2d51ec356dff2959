"""Read audio files as mono waveforms, and write lossless FLAC."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from fishdvc.errors import AudioError

READABLE_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif")
UNREADABLE_SUFFIXES = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr")
"""Audio formats that libsndfile cannot decode. Such files are reported, not ignored."""
STREAMED_CHUNK_BYTES = 0xFFFFFFFF
"""Length of a chunk in a streamed file, whose true length was unknown when it was written."""
OGG_MAX_PAGE_BYTES = 27 + 255 + 255 * 255


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """Mono audio.

    Attributes:
        samples: Float32 ``(samples,)``, full scale at -1 and 1. Decoded MP3 may exceed full scale.
        sample_rate_hz: Samples per second.
    """

    samples: npt.NDArray[np.float32]
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


def read_waveform(path: Path) -> Waveform:
    """Read a file and return the mean of its channels.

    Raises:
        AudioError: The file cannot be decoded, is truncated, or has no samples or samples that are
            not finite.
    """
    if path.suffix.lower() in UNREADABLE_SUFFIXES:
        raise AudioError(
            f"{path}: {path.suffix} cannot be read; convert it: "
            f"`ffmpeg -i {path.name} {path.stem}.flac`"
        )
    try:
        with soundfile.SoundFile(path) as file:
            expected_num_samples = file.frames
            is_truncated = _chunk_is_truncated(file.extra_info) or (
                file.format == "OGG" and _last_page_is_truncated(path)
            )
            channels = file.read(dtype="float32", always_2d=True)
            sample_rate_hz = file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(
            f"{path}: not readable as audio ({error}); record or export it again, or remove it"
        ) from error
    if is_truncated or len(channels) < expected_num_samples:
        raise AudioError(
            f"{path}: truncated: read {len(channels)} samples, fewer than its header says; "
            "copy or export it again, or remove it"
        )
    if len(channels) == 0:
        raise AudioError(f"{path}: holds no sample; record it again, or remove it")
    if not np.isfinite(channels).all():
        raise AudioError(
            f"{path}: {int((~np.isfinite(channels)).any(axis=1).sum())} samples are NaN or "
            "infinite; export it again, or remove it"
        )
    return Waveform(samples=channels.mean(axis=1, dtype=np.float32), sample_rate_hz=sample_rate_hz)


def _chunk_is_truncated(libsndfile_log: str) -> bool:
    """Whether a WAV or AIFF file is shorter than its header says. libsndfile only logs that."""
    chunk = re.search(r"^ *(?:data|SSND) : (\w+) \(should be (\d+)\)", libsndfile_log, re.MULTILINE)
    if chunk is None:
        return False
    expected_bytes, found_bytes = int(chunk[1], 0), int(chunk[2])
    return found_bytes < expected_bytes < STREAMED_CHUNK_BYTES


def _last_page_is_truncated(path: Path) -> bool:
    """Whether an Ogg file (RFC 3533) ends within a page. libsndfile does not report that."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_MAX_PAGE_BYTES))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    num_segments = page[26] if len(page) > 26 else 0
    segments = page[27 : 27 + num_segments]
    return not num_segments or len(page) < 27 + num_segments + sum(segments)


def write_flac(path: Path, waveform: Waveform, *, comment: str) -> None:
    """Write 24-bit FLAC, exact to 2**-24 of full scale.

    Args:
        path: The file.
        waveform: Samples from -1 to 1, with a sample rate from 1 Hz to 655,350 Hz.
        comment: Comment in the file's tags.
    """
    with soundfile.SoundFile(
        path, "w", waveform.sample_rate_hz, channels=1, format="FLAC", subtype="PCM_24"
    ) as file:
        file.comment = comment
        file.write(waveform.samples)
