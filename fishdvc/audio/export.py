"""Write speech in common 16-bit formats."""

import io
from pathlib import Path

import soundfile

from fishdvc.audio.waveform import Waveform

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def writable_suffixes() -> list[str]:
    """List the suffixes that this machine's libsndfile can write."""
    return [suffix for suffix, args in _FORMATS.items() if soundfile.check_format(*args)]


def write_speech(path: Path, waveform: Waveform, *, suffix: str) -> None:
    """Write a waveform. Samples beyond full scale are clipped.

    Args:
        path: File to write. Its own suffix is ignored.
        waveform: The speech.
        suffix: One of ``writable_suffixes``, which sets the format.

    Raises:
        OSError: The file cannot be written, for example on a full disk.
    """
    container, subtype = _FORMATS[suffix]
    # libsndfile does not report a full disk when it closes a file. So it writes to memory.
    content = io.BytesIO()
    soundfile.write(
        content, waveform.samples, waveform.sample_rate_hz, format=container, subtype=subtype
    )
    path.write_bytes(content.getbuffer())
