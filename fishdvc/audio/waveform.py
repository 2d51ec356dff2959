"""Read audio files as mono waveforms, and write lossless FLAC."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from fishdvc.audio import flac, riff
from fishdvc.audio.downmix import downmix
from fishdvc.audio.ffmpeg import decode
from fishdvc.audio.limits import MAX_NUM_VALUES, check_file_size, check_limits
from fishdvc.errors import AudioError, FishdvcError

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".aiff", ".aif", ".aifc", ".caf", ".au"),
    *(".snd", ".wv", ".ape", ".tta", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".spx"),
    *(".m4a", ".m4b", ".mp4", ".mov", ".aac", ".3gp", ".3g2", ".amr", ".webm", ".weba", ".mka"),
    *(".mkv", ".wma", ".asf"),
)
"""Suffixes, in lower case, of the formats that ``read_waveform`` decodes."""
LIBSNDFILE_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Encodings in WAV and FLAC files that are read with libsndfile, which is faster than FFmpeg."""


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
    """Read a file to the end of its data and mix its channels to mono (``downmix``).

    The content decides the format, not the suffix. A length in a header is used only for
    uncompressed samples, to find truncated files and the end of the samples, and only if the writer
    was not streaming.

    Raises:
        AudioError: The file cannot be decoded, is damaged or truncated, exceeds a limit of
            ``fishdvc.audio.limits``, or has no samples or samples that are not finite.
    """
    try:
        channels, sample_rate_hz = _read_channels(path)
    except AudioError:
        raise
    # The libraries raise many types for damaged files, for example UnicodeError and MemoryError.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AudioError(
            f"{path}: not readable as audio ({reason}); record or export it again, or remove it"
        ) from error
    if len(channels) == 0:
        raise AudioError(f"{path}: contains no samples; record it again, or remove it")
    if not np.isfinite(channels).all():
        raise AudioError(
            f"{path}: {int((~np.isfinite(channels)).any(axis=1).sum())} samples are NaN or "
            "infinite; export it again, or remove it"
        )
    return Waveform(samples=downmix(channels), sample_rate_hz=sample_rate_hz)


def write_flac(path: Path, waveform: Waveform, *, comment: str) -> None:
    """Write 24-bit FLAC, exact to 2**-23 of full scale, and read it back.

    Args:
        path: The file.
        waveform: Samples from -1 to 1, with a sample rate from 1 Hz to 655,350 Hz.
        comment: Comment in the file's tags.

    Raises:
        FishdvcError: The file cannot be written, for example on a full disk.
    """
    # libsndfile does not report a full disk when it closes a file. So it writes to memory.
    content = io.BytesIO()
    with soundfile.SoundFile(
        content, "w", waveform.sample_rate_hz, channels=1, format="FLAC", subtype="PCM_24"
    ) as file:
        file.comment = comment
        file.write(waveform.samples)
    try:
        path.write_bytes(content.getbuffer())
        is_equal = path.read_bytes() == content.getbuffer()
    except OSError as error:
        raise FishdvcError(f"{path}: cannot be written ({error.strerror})") from error
    if not is_equal:
        raise FishdvcError(f"{path}: differs from what was written; is the disk full or defective?")


def _read_channels(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Read ``(samples, channels)`` and the sample rate."""
    check_file_size(path)
    with path.open("rb") as file:
        head = file.read(flac.HEADER_BYTES)
    if riff.is_wav(head):
        is_known = riff.length_is_known(path)
        with_libsndfile = _read_with_libsndfile(path) if is_known else None
        return with_libsndfile or decode(path, length_is_known=is_known)
    if not flac.is_flac(head):
        return decode(path, length_is_known=True)
    with_libsndfile = _read_with_libsndfile(path)
    if with_libsndfile and flac.checksum_is_right(with_libsndfile[0], head):
        return with_libsndfile
    # The length in the header is wrong or unknown, or the file is damaged.
    channels, sample_rate_hz = decode(path, length_is_known=True)
    if flac.checksum_is_right(channels, head) is False:
        raise AudioError(
            f"{path}: not readable in full: the checksum of its samples is wrong; copy or export "
            "it again, or remove it"
        )
    return channels, sample_rate_hz


def _read_with_libsndfile(path: Path) -> tuple[npt.NDArray[np.float32], int] | None:
    """Read uncompressed or FLAC samples. Return None if libsndfile cannot."""
    try:
        # Bytes, because a name may not be valid Unicode.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            num_values = file.frames * file.channels
            if file.subtype not in LIBSNDFILE_SUBTYPES or num_values > MAX_NUM_VALUES:
                return None
            check_limits(path, sample_rate_hz=file.samplerate, num_values=num_values)
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError:
        return None
