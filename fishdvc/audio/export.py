"""Write speech in common audio formats."""

from pathlib import Path

import soundfile

from fishdvc.audio.waveform import Waveform

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def writable_suffixes() -> list[str]:
    """List the suffixes that can be written. Not every libsndfile can write .mp3."""
    return [
        suffix
        for suffix, (container, subtype) in _FORMATS.items()
        if soundfile.check_format(container, subtype)
    ]


def write_for_listening(path: Path, waveform: Waveform, *, suffix: str) -> None:
    """Write a waveform with 16 bits per sample. Samples beyond full scale are clipped.

    Args:
        path: The file. Its suffix does not select the format.
        waveform: The speech.
        suffix: The format, one of ``writable_suffixes``.

    Raises:
        soundfile.SoundFileError: The file cannot be written, for example because the disk is full.
    """
    container, subtype = _FORMATS[suffix]
    soundfile.write(
        path, waveform.samples, waveform.sample_rate_hz, format=container, subtype=subtype
    )
