"""The length in a header is not trusted: all samples are read, and lost samples are an error."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.audio.waveform import read_waveform
from fishdvc.errors import AudioError

RATE_HZ = 16000
NUM_SAMPLES = 22400
SAMPLES = np.random.default_rng(0).integers(-9999, 9999, NUM_SAMPLES, dtype=np.int16)
ALL = SAMPLES.astype(np.float32) / 2**15
NUM_BYTES = 2 * NUM_SAMPLES


def chunk(name: bytes, content: bytes, stated: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if stated is None else stated) + content


def wav(*chunks: bytes, magic: bytes = b"RIFF") -> bytes:
    body = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16))
    body += b"".join(chunks)
    return magic + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def read(content: bytes, folder: Path) -> np.ndarray:
    (folder / "a.wav").write_bytes(content)
    return read_waveform(folder / "a.wav").samples


DATA = chunk(b"data", SAMPLES.tobytes())
TAGS = chunk(b"LIST", b"INFOICMT" + b"x" * 4000)


@pytest.mark.parametrize(
    "stated",
    [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36, NUM_BYTES + 44],
)
def test_a_wav_file_is_read_whatever_length_a_streaming_program_wrote(
    stated: int, tmp_path: Path
) -> None:
    content = wav(TAGS, chunk(b"data", SAMPLES.tobytes(), stated))
    np.testing.assert_array_equal(read(content, tmp_path), ALL)


@pytest.mark.parametrize("stated", [2, 8000, NUM_BYTES - 2000])
def test_samples_after_the_stated_length_are_read(stated: int, tmp_path: Path) -> None:
    """Such a file is left by a recorder that was killed between two updates of the header."""
    content = wav(chunk(b"data", SAMPLES.tobytes(), stated))
    np.testing.assert_array_equal(read(content, tmp_path), ALL)


@pytest.mark.parametrize(
    "tail", [TAGS, chunk(b"id3 ", b"\xff" * 999), b"TAG" + b"x" * 125, b"ID3\3\0", b"\0", b""]
)
def test_tags_after_the_samples_are_not_read_as_samples(tail: bytes, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(wav(DATA) + tail, tmp_path), ALL)
    np.testing.assert_array_equal(read(wav(TAGS, DATA, tail), tmp_path), ALL)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 8000])
@pytest.mark.parametrize(
    "tail",
    [
        TAGS,
        chunk(b"LIST", b"INFO") + chunk(b"id3 ", b"x" * 7) + b"\0",
        chunk(b"bext", b"x" * 7),
        chunk(b"PEAK", b""),
    ],
)
def test_chunks_after_samples_of_unknown_length_are_not_read_as_samples(
    stated: int, tail: bytes, tmp_path: Path
) -> None:
    content = wav(chunk(b"data", SAMPLES.tobytes(), stated), tail)
    np.testing.assert_array_equal(read(content, tmp_path), ALL)


def test_samples_that_look_like_the_name_of_a_chunk_are_read(tmp_path: Path) -> None:
    samples = SAMPLES.copy()
    samples[4000:4004] = np.frombuffer(b"dataLIST", np.int16)
    samples[4000:4002] = np.frombuffer(b"aaaa", np.int16)
    for stated in (0, 8000):
        content = wav(chunk(b"data", samples.tobytes(), stated))
        np.testing.assert_array_equal(read(content, tmp_path), samples.astype(np.float32) / 2**15)


@pytest.mark.parametrize("first", [0, 1001, 8000])
@pytest.mark.parametrize("between", [b"", TAGS])
def test_several_chunks_of_samples_are_rejected(first: int, between: bytes, tmp_path: Path) -> None:
    parts = chunk(b"data", bytes(first)), b"\0" * (first % 2), between, DATA
    with pytest.raises(AudioError, match=r"a\.wav: has several `data` chunks"):
        read(wav(*parts), tmp_path)


@pytest.mark.parametrize(
    ("container", "name"), [("AIFF", b"SSND"), ("CAF", b"data"), ("W64", b"data\xf3\xac\xd3\x11")]
)
def test_several_chunks_of_samples_in_other_formats_are_rejected(
    container: str, name: bytes, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, RATE_HZ, format=container)
    content = (tmp_path / "a.wav").read_bytes()
    np.testing.assert_array_equal(read(content, tmp_path), ALL)
    second = content[content.index(name) :]
    assert len(second) >= NUM_BYTES
    with pytest.raises(AudioError, match=rf"several `{name[:4].decode()}` chunks"):
        read(content + second, tmp_path)


@pytest.mark.parametrize("stated", [NUM_BYTES, 0, 0xFFFFFFFF])
def test_wav_files_that_were_joined_byte_by_byte_are_rejected(stated: int, tmp_path: Path) -> None:
    content = wav(chunk(b"data", SAMPLES.tobytes(), stated))
    with pytest.raises(AudioError, match=r"a\.wav: several files in one"):
        read(content + content, tmp_path)


@pytest.mark.parametrize("container", ["FLAC", "AIFF"])
def test_other_files_that_were_joined_are_rejected(container: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, RATE_HZ, format=container)
    content = (tmp_path / "a.wav").read_bytes()
    np.testing.assert_array_equal(read(content, tmp_path), ALL)
    with pytest.raises(AudioError, match=r"a\.wav: several files in one"):
        read(content + content, tmp_path)


@pytest.mark.parametrize("stated", [-1, 0, 2**40])
def test_a_caf_file_of_unknown_length_is_read(stated: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, RATE_HZ, format="CAF")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 8] = struct.pack(">q", stated)
    np.testing.assert_array_equal(read(bytes(content), tmp_path), ALL)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
@pytest.mark.parametrize("stated", [None, 0, 0xFFFFFFFF])
def test_big_endian_wav_files_are_read(subtype: str, stated: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, ALL, RATE_HZ, subtype=subtype)
    expected = soundfile.read(path, dtype="float32")[0]
    soundfile.write(path, ALL, RATE_HZ, subtype=subtype, endian="BIG")
    content = bytearray(path.read_bytes())
    assert content.startswith(b"RIFX")
    if stated is not None:
        at = content.index(b"data") + 4
        content[at : at + 4] = struct.pack(">I", stated)
    np.testing.assert_array_equal(read(bytes(content), tmp_path), expected)
    if stated is None:
        with pytest.raises(AudioError, match="truncated"):
            read(bytes(content[:-1000]), tmp_path)


@pytest.mark.parametrize("num_missing", [46, 20000, 44798])
@pytest.mark.parametrize("before", [b"", TAGS])
def test_a_truncated_wav_file_is_rejected(num_missing: int, before: bytes, tmp_path: Path) -> None:
    content = wav(before, DATA)[:-num_missing]
    with pytest.raises(AudioError, match=rf"truncated: {NUM_BYTES - num_missing} of {NUM_BYTES}"):
        read(content, tmp_path)


@pytest.mark.parametrize("lengths", [(0, 0), (NUM_BYTES, NUM_BYTES), (2**40, 2**40)])
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_64_bit_lengths(lengths: tuple[int, int], magic: bytes, tmp_path: Path) -> None:
    sizes = chunk(b"ds64", struct.pack("<QQQI", lengths[0] + 80, lengths[1], 0, 0))
    data = chunk(b"data", SAMPLES.tobytes(), 0xFFFFFFFF)
    header = wav()
    content = magic + b"\xff" * 4 + b"WAVE" + sizes + header[12:] + data
    np.testing.assert_array_equal(read(content, tmp_path), ALL)
    if lengths[0] == NUM_BYTES:
        with pytest.raises(AudioError, match="truncated"):
            read(content[:-1000], tmp_path)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM"])
def test_compressed_wav_files_are_read_to_the_end(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, ALL, RATE_HZ, subtype=subtype)
    assert len(read_waveform(path).samples) == pytest.approx(NUM_SAMPLES, abs=1100)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-3000])
    with pytest.raises(AudioError, match="truncated"):
        read_waveform(path)
    at = content.index(b"data") + 4
    stated = int.from_bytes(content[at : at + 4], "little")
    for wrong in (stated + 40, 0x7FFFF000):
        content[at : at + 4] = wrong.to_bytes(4, "little")
        path.write_bytes(content)
        assert len(read_waveform(path).samples) == pytest.approx(NUM_SAMPLES, abs=1100)


@pytest.mark.parametrize("total", [0, 1, NUM_SAMPLES - 1, NUM_SAMPLES + 1, 2**36 - 1])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_with_a_wrong_number_of_samples_is_read(
    total: int, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([ALL, -ALL / 2], axis=1), RATE_HZ, subtype=subtype)
    right = read_waveform(path).samples
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_waveform(path).samples, right)
    content[26:42] = bytes(16)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_waveform(path).samples, right)


def test_flac_whose_samples_have_another_checksum_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, ALL, RATE_HZ)
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with pytest.raises(AudioError, match="the checksum of its samples is wrong"):
        read_waveform(path)


@pytest.mark.parametrize(
    ("name", "num_samples"),
    [
        ("vbr_without_header.mp3", 39744),
        ("vbr_with_silent_start.mp3", 79488),
        ("mp3_inside.wav", 39744),
        ("empty_last_page.ogg", 38528),
    ],
)
def test_compressed_files_are_read_to_the_end(name: str, num_samples: int, assets: Path) -> None:
    assert len(read_waveform(assets / "audio" / name).samples) == num_samples


def test_tags_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    tags = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"\xc4\xe3\xba\xc3"))
    content = wav(tags, chunk(b"data", SAMPLES.tobytes(), 0))
    np.testing.assert_array_equal(read(content, tmp_path), ALL)
