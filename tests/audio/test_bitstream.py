"""Frames of DTS and of IEC 61937 that are stored as samples are found, and noise is none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.audio.bitstream import find_codec
from fishdvc.audio.waveform import read_waveform
from fishdvc.errors import AudioError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(-(2**15), 2**15, 2**19, dtype=np.int16)
FRAME_VALUES = 1024
DTS = "contains DTS in place of samples; decode it to 16-bit WAV"
IEC_61937 = "contains AC-3 or another codec in IEC 61937 in place of samples"


def frames(sync: str, order: str, num_frames: int) -> np.ndarray:
    """Return a sync word at the start of each frame of noise, as 16-bit samples."""
    samples = NOISE[: num_frames * FRAME_VALUES].copy().reshape(num_frames, FRAME_VALUES)
    samples[:, :2] = np.frombuffer(bytes.fromhex(sync), f"{order}i2")
    return samples.reshape(-1, 2)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("sync", "message"), [("7FFE8001", DTS), ("1FFFE800", DTS), ("F8724E1F", IEC_61937)]
)
@pytest.mark.parametrize(
    ("suffix", "subtype"), [(".wav", "PCM_16"), (".wav", "PCM_24"), (".flac", "PCM_16")]
)
def test_compressed_audio_stored_as_samples_is_named(
    suffix: str, subtype: str, sync: str, message: str, order: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    samples = frames(sync, order, 3).astype(np.int32) << 16
    soundfile.write(path, samples, 48_000, subtype=subtype)
    with pytest.raises(AudioError, match=rf"^{path}: {message}"):
        read_waveform(path)


def test_noise_and_single_sync_words_are_samples() -> None:
    for samples in (NOISE.reshape(-1, 2), frames("7FFE8001", "<", 2), NOISE[:1, None]):
        assert find_codec(samples.astype(np.float32) / 2**15) is None
