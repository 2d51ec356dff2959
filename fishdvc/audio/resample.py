"""Resample with the filter of ``torchaudio.functional.resample``, in bounded memory."""

import math

import torch
import torchaudio.functional
from torch import Tensor

ROLLOFF = 0.99
NUM_ZERO_CROSSINGS = 6
"""Defaults of torchaudio: a sinc of this many zero crossings on each side, in a Hann window."""
MAX_TABLE = 2**20
"""Largest table of filter taps that torchaudio may build. For rates without a common divisor it
would take gigabytes."""
CHUNK = 2**20
"""Number of taps that are computed at once."""


def resample(samples: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Resample as ``torchaudio.functional.resample`` does by default, for any pair of rates.

    Time and memory grow with the number of samples only.

    Args:
        samples: Float32 ``(samples,)``.
        from_hz: Sample rate of ``samples``.
        to_hz: Sample rate of the result.

    Returns:
        Shape ``(ceil(samples * to_hz / from_hz),)``. Equal to torchaudio's up to rounding errors.
    """
    divisor = math.gcd(from_hz, to_hz)
    from_hz, to_hz = from_hz // divisor, to_hz // divisor
    cutoff = min(from_hz, to_hz) * ROLLOFF
    width = math.ceil(NUM_ZERO_CROSSINGS * from_hz / cutoff)
    if to_hz * (from_hz + 2 * width) <= MAX_TABLE:
        resampled: Tensor = torchaudio.functional.resample(samples, from_hz, to_hz)
        return resampled
    padded = torch.nn.functional.pad(samples, (width, width + 1))
    offsets = torch.arange(2 * width + 1)
    steps = torch.arange(math.ceil(len(samples) * to_hz / from_hz)) * from_hz
    chunks = [
        _interpolate(padded, chunk, offsets, from_hz, to_hz, cutoff)
        for chunk in torch.split(steps, CHUNK // len(offsets))
    ]
    return torch.cat(chunks) if chunks else samples.new_zeros(0)


def _interpolate(
    padded: Tensor, steps: Tensor, offsets: Tensor, from_hz: int, to_hz: int, cutoff: float
) -> Tensor:
    """Compute output samples at ``steps / to_hz`` input samples, each with its own taps."""
    first = steps // to_hz
    width = len(offsets) // 2
    # The exact remainder: positions in a long clip exceed the precision of a float.
    distances = (offsets - width) - ((steps % to_hz).double() / to_hz).float()[:, None]
    time = (distances * cutoff / from_hz).clamp(-NUM_ZERO_CROSSINGS, NUM_ZERO_CROSSINGS)
    window = torch.cos(time * math.pi / NUM_ZERO_CROSSINGS / 2) ** 2
    taps = torch.sinc(time) * window * cutoff / from_hz
    return (padded[first[:, None] + offsets] * taps).sum(dim=1)
