"""Limits on the length and the sample rate of a clip, whatever its file states."""

from fishdvc.errors import AudioError

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 655_350
"""The highest sample rate of FLAC."""
MAX_EXACT_RATE_HZ = 65_535
"""FLAC has only multiples of 10 Hz above this (RFC 9639, section 9.1.2)."""
MAX_FILE_BYTES = 2**29
MAX_NUM_VALUES = 2**26
"""Samples of all channels: 25 minutes of mono at 44.1 kHz, 256 MiB as float32."""


def check_limits(*, sample_rate_hz: int, num_values: int) -> None:
    """Check what a file states, or what was decoded so far.

    Args:
        sample_rate_hz: Samples per second.
        num_values: Number of samples of all channels together.

    Raises:
        AudioError: The sample rate or the number of samples is out of range.
    """
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"sample rate {sample_rate_hz:,} Hz, not {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,}; "
            "convert it to 44,100 Hz, or remove it"
        )
    if sample_rate_hz > MAX_EXACT_RATE_HZ and sample_rate_hz % 10:
        raise AudioError(
            f"sample rate {sample_rate_hz:,} Hz, which FLAC cannot store; convert it to "
            "44,100 Hz, or remove it"
        )
    if num_values > MAX_NUM_VALUES:
        raise AudioError(
            f"more than {MAX_NUM_VALUES:,} samples in all channels; split it into clips of a "
            "sentence"
        )
