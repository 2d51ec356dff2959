"""Write speech in formats that people listen to. Starts without torch."""

from pathlib import Path

import soundfile

from fishdvc.audio.waveform import Waveform

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def writable_suffixes() -> list[str]:
    """List the suffixes that can be written; whether .mp3 is one depends on libsndfile."""
    return [
        suffix
        for suffix, (container, subtype) in _FORMATS.items()
        if soundfile.check_format(container, subtype)
    ]


def write_for_listening(path: Path, waveform: Waveform, *, suffix: str) -> None:
    """Write a waveform with 16 bits; samples beyond full scale are clipped.

    Args:
        path: Where to write; its own suffix says nothing.
        waveform: What to write.
        suffix: One of ``writable_suffixes``: the format.

    Raises:
        soundfile.SoundFileError: It cannot be written, as on a full disk.
    """
    container, subtype = _FORMATS[suffix]
    soundfile.write(
        path, waveform.samples, waveform.sample_rate_hz, format=container, subtype=subtype
    )
