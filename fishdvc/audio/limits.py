"""Limits on the length and the sample rate of a clip, whatever its file states."""

from pathlib import Path

from fishdvc.errors import AudioError

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 655_350
"""The highest sample rate of FLAC."""
MAX_FILE_BYTES = 2**29
MAX_NUM_VALUES = 2**26
"""Samples of all channels: 25 minutes of mono at 44.1 kHz, 256 MiB as float32."""


def check_file_size(path: Path) -> None:
    """Check the size of a file before it is read.

    Raises:
        AudioError: The file is larger than 512 MiB.
        OSError: The file cannot be accessed.
    """
    num_bytes = path.stat().st_size
    if num_bytes > MAX_FILE_BYTES:
        raise AudioError(
            f"{path}: {num_bytes / 2**20:.0f} MiB, more than {MAX_FILE_BYTES / 2**20:.0f}; split "
            "it into clips of a sentence"
        )


def check_limits(path: Path, *, sample_rate_hz: int, num_values: int) -> None:
    """Check what a file states, or what was decoded so far.

    Args:
        path: The file, for the message.
        sample_rate_hz: Samples per second.
        num_values: Number of samples of all channels together.

    Raises:
        AudioError: The sample rate or the number of samples is out of range.
    """
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{path}: sample rate {sample_rate_hz:,} Hz, not {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,}; "
            "convert it to 44,100 Hz, or remove it"
        )
    if num_values > MAX_NUM_VALUES:
        raise AudioError(
            f"{path}: more than {MAX_NUM_VALUES:,} samples in all channels; split it into clips "
            "of a sentence"
        )
