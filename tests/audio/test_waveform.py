import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.audio import limits
from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.errors import AudioError, FishdvcError

RATE_HZ = 16000
RNG = np.random.default_rng(0)
STEREO = (0.1 * RNG.normal(size=(RATE_HZ, 2))).clip(-0.9, 0.9).astype(np.float32)


def write_wav(path: Path, rate_hz: int) -> Path:
    """Write a header of 44 bytes and 1,000 samples."""
    header = struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz % 2**32, 2, 16)
    data = RNG.integers(-9999, 9999, 1000, dtype=np.int16).tobytes()
    chunks = b"".join(
        name + struct.pack("<I", len(content)) + content
        for name, content in ((b"fmt ", header), (b"data", data))
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


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
    assert waveform.duration_s == pytest.approx(1, abs=0.15)
    middle = waveform.samples[len(waveform.samples) // 4 : len(waveform.samples) * 3 // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.21])
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


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"no sound at all " * 99])
def test_a_file_that_is_not_audio_is_rejected(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"^{path}: .*or remove it"):
        read_waveform(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file; copy it again"),
        (bytes(5000), "contains only 5,000 zero bytes; copy it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
            "a Git LFS pointer in place of the file; run `git lfs pull`",
        ),
        (
            b"/annex/objects/SHA256E-s9--4d.flac\n",
            "a git-annex pointer in place of the file; run `git annex get`",
        ),
    ],
)
def test_files_that_stand_in_for_a_recording_are_named(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match=rf"a\.flac: {problem}"):
        read_waveform(tmp_path / "a.flac")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.aiff", "a.ogg", "a.au"])
@pytest.mark.parametrize("num_bytes", [10, 3000])
def test_an_id3_tag_at_the_start_is_ignored(name: str, num_bytes: int, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    expected = read_waveform(path)
    tag = b"ID3\3\0\0\0\0" + bytes([num_bytes >> 7, num_bytes & 0x7F]) + bytes(num_bytes)
    path.write_bytes(tag + path.read_bytes())
    np.testing.assert_array_equal(read_waveform(path).samples, expected.samples)


@pytest.mark.parametrize("noise", [0, 1e-5])
def test_a_clip_with_only_an_offset_is_silence(noise: float, tmp_path: Path) -> None:
    samples = 0.3 + noise * RNG.normal(size=RATE_HZ)
    waveform = read_waveform(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert np.abs(waveform.samples).max() < 1e-4


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


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: not readable as audio \(No such file"):
        read_waveform(tmp_path / "a.wav")


@pytest.mark.parametrize("error", [MemoryError(), UnicodeDecodeError("gbk", b"", 0, 1, "no")])
def test_any_error_of_a_decoder_is_an_audio_error(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(soundfile, "SoundFile", fail)
    with pytest.raises(AudioError, match=r"a\.wav: not readable as audio \(.+\)"):
        read_waveform(write_wav(tmp_path / "a.wav", RATE_HZ))


def test_a_name_that_is_not_valid_unicode_is_read(tmp_path: Path) -> None:
    for suffix in (".flac", ".mp3"):
        source = write(tmp_path / f"a{suffix}")
        path = tmp_path / os.fsdecode(b"\xc4\xe3" + suffix.encode())
        source.rename(path)
        assert read_waveform(path).duration_s == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("rate_hz", [0, 1, 3_999, 655_351, 10**9, 65_537, 96_001, 99_991])
def test_a_sample_rate_out_of_range_is_rejected(rate_hz: int, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", rate_hz)
    with pytest.raises(AudioError, match=rf"^{path}: .*or remove it"):
        read_waveform(path)


def test_sample_rates_at_the_limits_are_read_and_written(tmp_path: Path) -> None:
    for rate_hz in (4_000, 65_535, 65_540, 655_350):
        waveform = read_waveform(write_wav(tmp_path / "a.wav", rate_hz))
        write_flac(tmp_path / "a.flac", waveform, comment="x")
        assert read_waveform(tmp_path / "a.flac").sample_rate_hz == rate_hz


def test_255_channels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(STEREO[:99, :1], 255), RATE_HZ)
    np.testing.assert_allclose(read_waveform(path).samples, STEREO[:99, 0], atol=1e-4)


def test_a_huge_file_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(AudioError, match=r"a\.wav: 1048576 MiB, more than 512; split it"):
        read_waveform(path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_a_long_clip_is_rejected_while_it_is_decoded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_NUM_VALUES", 2 * RATE_HZ - 1)
    with pytest.raises(AudioError, match=rf"{name}: more than 31,999 samples in all channels"):
        read_waveform(write(tmp_path / name))


def test_flac_keeps_24_bits(tmp_path: Path) -> None:
    samples = np.concatenate([RNG.uniform(-1, 1, 10000), [0, 1, -1]]).astype(np.float32)
    write_flac(tmp_path / "a.flac", Waveform(samples=samples, sample_rate_hz=44100), comment="hi")
    found = read_waveform(tmp_path / "a.flac")
    assert found.sample_rate_hz == 44100
    np.testing.assert_allclose(found.samples, samples, rtol=0, atol=2**-23)
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert (file.channels, file.subtype, file.comment) == (1, "PCM_24", "hi")


def test_a_waveform_that_flac_cannot_store_is_an_audio_error(tmp_path: Path) -> None:
    waveform = Waveform(samples=STEREO[:, 0], sample_rate_hz=96_001)
    with pytest.raises(AudioError, match=r"a\.flac: cannot be written as FLAC \(.+\)$"):
        write_flac(tmp_path / "a.flac", waveform, comment="x")


def test_a_full_disk_is_an_error_of_the_stage_not_of_the_clip(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits the size of files")
    samples = RNG.uniform(-1, 1, 10000).astype(np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(FishdvcError, match=r"a\.flac: cannot be written \(File too large\)"):
            write_flac(
                tmp_path / "a.flac", Waveform(samples=samples, sample_rate_hz=16000), comment="x"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_flac_is_read_back(keep: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def lose(path: Path, content: bytes) -> int:
        return write_bytes(path, content[: int(len(content) * keep)])

    monkeypatch.setattr(Path, "write_bytes", lose)
    waveform = Waveform(samples=STEREO[:, 0], sample_rate_hz=RATE_HZ)
    with pytest.raises(FishdvcError, match=r"a\.flac: differs from what was written") as e:
        write_flac(tmp_path / "a.flac", waveform, comment="x")
    assert not isinstance(e.value, AudioError)
