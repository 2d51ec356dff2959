import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.errors import AudioError

RATE_HZ = 16000
RNG = np.random.default_rng(0)
STEREO = (0.1 * RNG.normal(size=(RATE_HZ, 2))).clip(-0.9, 0.9).astype(np.float32)


def write(path: Path, samples: np.ndarray = STEREO, **kwargs: str) -> Path:
    soundfile.write(path, samples, RATE_HZ, **kwargs)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.aif", "a.WAV"])
def test_lossless_stereo_is_read_as_the_mean(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, format={"wav": "WAV", "flac": "FLAC"}.get(path.suffix[1:].lower(), "AIFF"))
    waveform = read_waveform(path)
    assert (waveform.samples.dtype, waveform.sample_rate_hz) == (np.float32, RATE_HZ)
    assert waveform.duration_s == 1.0
    np.testing.assert_allclose(waveform.samples, STEREO.mean(axis=1), rtol=0, atol=2**-15)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp3", ("MP3", "MPEG_LAYER_III")),
        ("a.ogg", ("OGG", "VORBIS")),
        ("a.opus", ("OGG", "OPUS")),
    ],
)
def test_lossy_formats_are_read(name: str, kind: tuple[str, str], tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    path = write(tmp_path / name, tone, format=kind[0], subtype=kind[1])
    waveform = read_waveform(path)
    assert len(waveform.samples) == pytest.approx(RATE_HZ, abs=2400)
    middle = waveform.samples[4000:12000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.aiff", "a.ogg"])
def test_a_truncated_file_is_rejected(name: str, keep: float, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(
        AudioError, match=rf"^{path}: (truncated|not readable).*again, or remove it"
    ):
        read_waveform(path)


def test_a_file_with_chunks_after_its_samples_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    content = path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert len(read_waveform(path).samples) == RATE_HZ


def test_a_streamed_wav_without_a_length_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = b"\xff" * 4
    path.write_bytes(content)
    np.testing.assert_allclose(
        read_waveform(path).samples, STEREO.mean(axis=1), rtol=0, atol=2**-15
    )


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"no sound at all " * 99])
def test_a_file_that_is_not_audio_is_rejected(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"^{path}: .*or remove it"):
        read_waveform(path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff"])
def test_a_file_without_samples_is_rejected(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, np.zeros((0, 1), np.float32))
    with pytest.raises(AudioError, match=rf"^{path}: "):
        read_waveform(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_error_counts_samples_that_are_not_finite(bad: float, tmp_path: Path) -> None:
    samples = STEREO.copy()
    samples[7, 0] = samples[8] = bad
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"^{path}: 2 samples are NaN or infinite; export"):
        read_waveform(path)


@pytest.mark.parametrize("name", ["a.m4a", "a.AAC", "a.wma"])
def test_the_error_says_how_to_convert_a_format_that_cannot_be_decoded(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(b"whatever")
    with pytest.raises(AudioError, match=r"cannot be read; convert it: `ffmpeg -i a\..* a\.flac`"):
        read_waveform(path)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: not readable as audio"):
        read_waveform(tmp_path / "a.wav")


def test_flac_keeps_24_bits(tmp_path: Path) -> None:
    samples = np.concatenate([RNG.uniform(-1, 1, 10000), [0, 1, -1]]).astype(np.float32)
    write_flac(tmp_path / "a.flac", Waveform(samples=samples, sample_rate_hz=44100), comment="hi")
    found = read_waveform(tmp_path / "a.flac")
    assert found.sample_rate_hz == 44100
    np.testing.assert_allclose(found.samples, samples, rtol=0, atol=2**-23)
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert (file.channels, file.subtype, file.comment) == (1, "PCM_24", "hi")
