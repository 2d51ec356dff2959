"""Read audio files as mono waveforms, and write lossless FLAC."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from fishdvc.audio import asf, flac, riff
from fishdvc.audio.bitstream import find_codec
from fishdvc.audio.chunks import check_chunks
from fishdvc.audio.downmix import downmix, remove_offset
from fishdvc.audio.ffmpeg import decode
from fishdvc.audio.limits import MAX_FILE_BYTES, MAX_NUM_VALUES, check_limits
from fishdvc.errors import AudioError, FishdvcError
from fishdvc.storage.lfs import pointer_problem

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".aiff", ".aif", ".aifc", ".caf", ".au"),
    *(".snd", ".wv", ".ape", ".tta", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".spx"),
    *(".m4a", ".m4b", ".mp4", ".mov", ".aac", ".3gp", ".3g2", ".amr", ".webm", ".weba", ".mka"),
    *(".mkv", ".wma", ".asf"),
)
"""Suffixes, in lower case, of the formats that ``read_waveform`` decodes."""
LIBSNDFILE_SUBTYPES = (
    *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
)
"""Encodings in WAV and FLAC files that are read with libsndfile. It is faster than FFmpeg, and
reads big-endian WAV files."""
STARTS = (
    *(b"WAVEfmt ", b"fLaC\0\0\0\x22", b"AIFFCOMM", b"AIFCFVER", b".snd\0\0\0", asf.HEADER),
    *(b"ftypM4A ", b"ftypM4B ", b"ftypisom", b"ftypiso5", b"ftypmp42", b"ftypmp41", b"ftyp3gp"),
)
"""How WAV, FLAC, AIFF, AU, ASF and MP4 files start, in their first ``HEAD_BYTES``."""
HEAD_BYTES = 64


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
            ``fishdvc.audio.limits``, contains compressed audio in place of samples, or has no
            samples or samples that are not finite.
    """
    try:
        channels, sample_rate_hz = _decode(_read(path))
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
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
    if codec := find_codec(channels):
        raise AudioError(
            f"{path}: contains {codec} in place of samples; decode it to 16-bit WAV, or remove it"
        )
    samples = remove_offset(downmix(channels, sample_rate_hz))
    return Waveform(samples=samples, sample_rate_hz=sample_rate_hz)


def write_flac(path: Path, waveform: Waveform, *, comment: str) -> None:
    """Write 24-bit FLAC, exact to 2**-23 of full scale, and read it back.

    Args:
        path: The file.
        waveform: Samples from -1 to 1.
        comment: Comment in the file's tags.

    Raises:
        AudioError: FLAC cannot store the waveform, for example its sample rate.
        FishdvcError: The file cannot be written, for example on a full disk.
    """
    # libsndfile does not report a full disk when it closes a file. So it writes to memory.
    content = io.BytesIO()
    try:
        with soundfile.SoundFile(
            content, "w", waveform.sample_rate_hz, channels=1, format="FLAC", subtype="PCM_24"
        ) as file:
            file.comment = comment
            file.write(waveform.samples)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path}: cannot be written as FLAC ({error})") from error
    try:
        path.write_bytes(content.getbuffer())
        is_equal = path.read_bytes() == content.getbuffer()
    except OSError as error:
        raise FishdvcError(f"{path}: cannot be written ({error.strerror})") from error
    if not is_equal:
        raise FishdvcError(f"{path}: differs from what was written; is the disk full or defective?")


def _read(path: Path) -> bytes:
    """Read a file without the ID3 tag at its start."""
    num_bytes = path.stat().st_size
    if num_bytes > MAX_FILE_BYTES:
        raise AudioError(
            f"{num_bytes / 2**20:.0f} MiB, more than {MAX_FILE_BYTES / 2**20:.0f}; split it into "
            "clips of a sentence"
        )
    content = path.read_bytes()
    if problem := pointer_problem(content):
        raise AudioError(problem)
    if content.count(0) == len(content):
        found = f"contains only {len(content):,} zero bytes" if content else "an empty file"
        raise AudioError(f"{found}; copy it again, or remove it")
    if content.startswith(b"ID3"):
        # The length is in the last 7 bits of 4 bytes, and does not count the header of 10 bytes.
        num_bytes = sum(b << n for b, n in zip(content[6:10], (21, 14, 7, 0), strict=False))
        return content[10 + num_bytes :]
    return content


def _decode(content: bytes) -> tuple[npt.NDArray[np.float32], int]:
    """Return ``(samples, channels)`` and the sample rate."""
    if any(content.count(start) > 1 for start in STARTS if start in content[:HEAD_BYTES]):
        raise AudioError(
            "several files in one, of which programs read only the first; split it, or remove it"
        )
    check_chunks(content)
    if riff.is_wav(content):
        content = riff.with_true_length(content)
        return _decode_with_libsndfile(content) or decode(content)
    if not flac.is_flac(content):
        return decode(content)
    decoded = _decode_with_libsndfile(content)
    if decoded and flac.checksum_is_right(decoded[0], content):
        return decoded
    # The length in the header is wrong or unknown, or the file is damaged.
    channels, sample_rate_hz = decode(content)
    if flac.checksum_is_right(channels, content) is False:
        raise AudioError(
            "not readable in full: the checksum of its samples is wrong; copy or export it again, "
            "or remove it"
        )
    return channels, sample_rate_hz


def _decode_with_libsndfile(content: bytes) -> tuple[npt.NDArray[np.float32], int] | None:
    """Decode uncompressed or FLAC samples. Return None if libsndfile cannot."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            num_values = file.frames * file.channels
            if file.subtype not in LIBSNDFILE_SUBTYPES or num_values > MAX_NUM_VALUES:
                return None
            check_limits(sample_rate_hz=file.samplerate, num_values=num_values)
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError:
        return None
