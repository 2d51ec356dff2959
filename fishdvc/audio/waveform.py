"""Read audio files to mono waveforms and write them without loss.

Knows files and samples, not speakers or stages. Starts without torch.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from fishdvc.errors import AudioError

READABLE_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif")
UNREADABLE_SUFFIXES = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr")
"""Audio that libsndfile cannot decode: it is reported, never passed over in silence."""
STREAMED_CHUNK_BYTES = 0xFFFFFFFF
"""What a program writes as a chunk's length when it does not know it yet: not a promise."""
OGG_MAX_PAGE_BYTES = 27 + 255 + 255 * 255


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """Mono audio.

    Attributes:
        samples: Float32, ``(samples,)``, full scale at -1 and 1; decoded MP3 may lie beyond.
        sample_rate_hz: Samples a second.
    """

    samples: npt.NDArray[np.float32]
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


def read_waveform(path: Path) -> Waveform:
    """Read a whole file and mix its channels down to one (their mean).

    Raises:
        AudioError: The file cannot be decoded, is shorter than its header says, holds no sample,
            or holds samples that are not finite.
    """
    if path.suffix.lower() in UNREADABLE_SUFFIXES:
        raise AudioError(
            f"{path}: {path.suffix} cannot be read; convert it, as by "
            f"`ffmpeg -i {path.name} {path.stem}.flac`"
        )
    try:
        with soundfile.SoundFile(path) as file:
            num_samples_promised = file.frames
            cut_short = _lacks_bytes(file.extra_info) or (
                file.format == "OGG" and _lacks_end_of_page(path)
            )
            channels = file.read(dtype="float32", always_2d=True)
            sample_rate_hz = file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(
            f"{path}: not readable as audio ({error}); record or export it again, or remove it"
        ) from error
    if cut_short or channels.shape[0] < num_samples_promised:
        raise AudioError(
            f"{path}: truncated: {channels.shape[0]} samples could be read, its header promises "
            "more; copy or export it again, or remove it"
        )
    if channels.shape[0] == 0:
        raise AudioError(f"{path}: holds no sample; record it again, or remove it")
    if not np.isfinite(channels).all():
        raise AudioError(
            f"{path}: {int((~np.isfinite(channels)).any(axis=1).sum())} samples are NaN or "
            "infinite; export it again, or remove it"
        )
    return Waveform(samples=channels.mean(axis=1, dtype=np.float32), sample_rate_hz=sample_rate_hz)


def _lacks_bytes(libsndfile_log: str) -> bool:
    """Whether a WAV or AIFF header promises more bytes than follow; libsndfile only logs that."""
    chunk = re.search(r"^ *(?:data|SSND) : (\w+) \(should be (\d+)\)", libsndfile_log, re.MULTILINE)
    if chunk is None:
        return False
    promised_bytes, found_bytes = int(chunk[1], 0), int(chunk[2])
    return found_bytes < promised_bytes < STREAMED_CHUNK_BYTES


def _lacks_end_of_page(path: Path) -> bool:
    """Whether an Ogg file (RFC 3533) ends within a page; libsndfile takes that for its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_MAX_PAGE_BYTES))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    num_segments = page[26] if len(page) > 26 else 0
    segments = page[27 : 27 + num_segments]
    return not num_segments or len(page) < 27 + num_segments + sum(segments)


def write_flac(path: Path, waveform: Waveform, *, comment: str) -> None:
    """Write 24-bit FLAC: exact to 2**-24 of full scale.

    Args:
        path: Where to write.
        waveform: Samples within -1 and 1, at any rate that FLAC knows (1 Hz to 655,350 Hz).
        comment: Kept in the file's tags.
    """
    with soundfile.SoundFile(
        path, "w", waveform.sample_rate_hz, channels=1, format="FLAC", subtype="PCM_24"
    ) as file:
        file.comment = comment
        file.write(waveform.samples)
