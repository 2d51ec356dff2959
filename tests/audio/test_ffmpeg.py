"""Every format is decoded to the end, and lost or damaged data are an error."""

import itertools
import re
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from fishdvc.audio.waveform import AUDIO_SUFFIXES, read_waveform
from fishdvc.errors import AudioError

RATE_HZ = 16000
DURATION_S = 3
TIME_S = np.arange(DURATION_S * RATE_HZ) / RATE_HZ
SPEECH = 0.5 * np.sin(2 * np.pi * (200 + 100 * np.sin(9 * TIME_S)) * TIME_S) * np.cos(5 * TIME_S)
NOISE = 0.01 * np.random.default_rng(0).normal(size=len(TIME_S))
SAMPLES = (2**15 * (SPEECH + NOISE)).astype(np.int16)
FORMATS = {
    ".mp3": ("mp3", "libmp3lame", RATE_HZ),
    ".mp2": ("mp2", "mp2", RATE_HZ),
    ".opus": ("ogg", "libopus", 48000),
    ".webm": ("webm", "libopus", 48000),
    ".m4a": ("ipod", "aac", RATE_HZ),
    ".mp4": ("mp4", "aac", RATE_HZ),
    ".aac": ("adts", "aac", RATE_HZ),
    ".wma": ("asf", "wmav2", RATE_HZ),
    ".amr": ("amr", "libopencore_amrnb", 8000),
    ".3gp": ("3gp", "libopencore_amrnb", 8000),
    ".wv": ("wv", "wavpack", RATE_HZ),
    ".caf": ("caf", "pcm_s16be", RATE_HZ),
    ".au": ("au", "pcm_s16be", RATE_HZ),
    ".aiff": ("aiff", "pcm_s24be", RATE_HZ),
    ".w64": ("w64", "pcm_s16le", RATE_HZ),
    ".asf": ("asf", "pcm_s16le", RATE_HZ),
}
"""Container, codec and sample rate."""


def encode(
    path: Path,
    container_format: str,
    codec: str,
    rate_hz: int,
    layout: str = "mono",
    **options: str,
) -> bytes:
    with av.open(path, "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 12200 if "amr" in codec else 64000
        frame = av.AudioFrame.from_ndarray(SAMPLES[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate_hz, stream.codec_context.frame_size or None
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(params=FORMATS)
def encoded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a{request.param}"
    encode(path, *FORMATS[request.param])
    return path


def test_every_format_is_decoded_to_the_end(encoded: Path) -> None:
    assert encoded.suffix in AUDIO_SUFFIXES
    waveform = read_waveform(encoded)
    # Encoders add up to two frames, and WMA loses the last one.
    assert waveform.duration_s == pytest.approx(DURATION_S, abs=0.15)
    assert waveform.sample_rate_hz == FORMATS[encoded.suffix][2]
    assert waveform.samples.std() == pytest.approx(SAMPLES.std() / 2**15, rel=0.1)


@pytest.mark.parametrize("keep", [0.97, 0.6])
def test_a_cut_file_is_rejected(keep: float, encoded: Path) -> None:
    content = encoded.read_bytes()
    encoded.write_bytes(content[: int(len(content) * keep) // 64 * 64 + 21])
    with pytest.raises(AudioError, match=rf"^{encoded}: .*again, or remove it$"):
        read_waveform(encoded)


def test_the_suffix_does_not_matter(encoded: Path) -> None:
    expected = read_waveform(encoded)
    found = read_waveform(encoded.rename(encoded.with_suffix(".wav")))
    np.testing.assert_array_equal(found.samples, expected.samples)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"movflags": "frag_keyframe+empty_moov"}),
        (".webm", {"live": "1"}),
        (".mp3", {"write_xing": "0"}),
        (".aac", {}),
    ],
)
def test_streamed_files_without_a_length_are_read(
    suffix: str, options: dict[str, str], tmp_path: Path
) -> None:
    encode(tmp_path / f"a{suffix}", *FORMATS[suffix], **options)
    assert read_waveform(tmp_path / f"a{suffix}").duration_s == pytest.approx(DURATION_S, abs=0.15)


@pytest.mark.parametrize("num_frames", [10, 200_000])
def test_a_wrong_number_of_frames_in_an_mp3_header_is_ignored(
    num_frames: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp3"
    content = bytearray(encode(path, *FORMATS[".mp3"]))
    at = content.index(b"Info") + 8
    content[at : at + 4] = num_frames.to_bytes(4, "big")
    path.write_bytes(content)
    assert read_waveform(path).duration_s == pytest.approx(DURATION_S, abs=0.1)


@pytest.mark.parametrize("tail", [b"TAG" + b"x" * 125, bytes(3000)])
@pytest.mark.parametrize("suffix", [".mp3", ".opus", ".flac", ".m4a"])
def test_tags_and_zeros_after_the_last_frame_are_ignored(
    suffix: str, tail: bytes, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, *FORMATS.get(suffix, ("flac", "flac", RATE_HZ)))
    path.write_bytes(path.read_bytes() + tail)
    assert read_waveform(path).duration_s == pytest.approx(DURATION_S, abs=0.15)


def test_files_that_were_joined_byte_by_byte_are_read_in_full_or_rejected(encoded: Path) -> None:
    encoded.write_bytes(2 * encoded.read_bytes())
    try:
        waveform = read_waveform(encoded)
    except AudioError:
        return
    assert encoded.suffix in (".aac", ".mp2", ".webm")
    assert waveform.duration_s == pytest.approx(2 * DURATION_S, abs=0.3)


HOLES = {
    ".webm": (rb"\x1f\x43\xb6\x75", {"live": "1", "cluster_time_limit": "500"}),
    ".mp4": (
        rb"(?s)....moof",
        {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"},
    ),
}
"""How each cluster or fragment starts, and options for some of half a second."""


@pytest.mark.parametrize("suffix", HOLES)
def test_a_hole_in_a_streamed_file_is_named(suffix: str, tmp_path: Path) -> None:
    start, options = HOLES[suffix]
    path = tmp_path / f"a{suffix}"
    content = encode(path, *FORMATS[suffix], **options)
    assert read_waveform(path).duration_s == pytest.approx(DURATION_S, abs=0.15)
    _, second, *_, last = (match.start() for match in re.finditer(start, content))
    path.write_bytes(content[:second] + content[last:])
    with pytest.raises(
        AudioError, match=r"not readable in full: [12]\.\d\d s are missing after 0\.5"
    ):
        read_waveform(path)


@pytest.mark.parametrize(("jitter_s", "is_hole"), [(0.09, False), (0.11, True)])
def test_times_may_jitter(jitter_s: float, is_hole: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number, start in enumerate(range(0, len(SAMPLES), 1600)):
            part = SAMPLES[None, start : start + 1600]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            frame.pts = start + int(jitter_s * RATE_HZ) * (number >= 9)
            container.mux(stream.encode(frame))
    if is_hole:
        with pytest.raises(AudioError, match=r"0\.11 s are missing after 0\.90 s"):
            read_waveform(path)
    else:
        np.testing.assert_allclose(read_waveform(path).samples, SAMPLES / 2**15, atol=1e-6)


@pytest.mark.parametrize("suffix", [".mka", ".mp4"])
def test_several_audio_tracks_are_rejected(suffix: str, tmp_path: Path) -> None:
    with av.open(tmp_path / f"a{suffix}", "w") as container:
        streams = [container.add_stream("aac", rate=RATE_HZ, layout="mono") for _ in range(2)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(
                SAMPLES[None].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = RATE_HZ
            container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match="contains 2 audio tracks; export one of them"):
        read_waveform(tmp_path / f"a{suffix}")


def ogg_pages(content: bytes) -> list[bytes]:
    starts = [match.start() for match in re.finditer(b"OggS", content)] + [len(content)]
    return [content[a:b] for a, b in itertools.pairwise(starts)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_lost_and_damaged_pages_of_ogg_are_named(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, SAMPLES, RATE_HZ, format="OGG", subtype=subtype)
    pages = ogg_pages(path.read_bytes())
    assert len(pages) > 4
    damaged = bytearray(pages[3])
    damaged[100:110] = bytes(10)
    cases = {
        "page 3 is missing": pages[:3] + pages[4:],
        "CRC mismatch!": [*pages[:3], bytes(damaged), *pages[4:]],
        "the data end within a page": [*pages[:-1], pages[-1][:20]],
    }
    cases["the data end within a page "] = [*pages[:-2], pages[-2][:50]]
    for reason, content in cases.items():
        path.write_bytes(b"".join(content))
        with pytest.raises(AudioError, match=rf"not readable in full: {reason.strip()}; copy"):
            read_waveform(path)


def test_a_change_of_channels_inside_a_file_is_rejected(tmp_path: Path) -> None:
    options = {"write_xing": "0", "id3v2_version": "0"}
    mono = encode(tmp_path / "a.mp3", *FORMATS[".mp3"], **options)
    stereo = encode(tmp_path / "b.mp3", *FORMATS[".mp3"], layout="stereo", **options)
    (tmp_path / "a.mp3").write_bytes(mono + stereo)
    with pytest.raises(AudioError, match="the sample rate or the number of channels changes"):
        read_waveform(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(mono + mono)
    assert read_waveform(tmp_path / "a.mp3").duration_s == pytest.approx(6, abs=0.3)


def codecs_of_libsndfile() -> list[tuple[str, str]]:
    containers = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU")
    return [
        (container, codec)
        for container in containers
        for codec in soundfile.available_subtypes(container)
        if soundfile.check_format(container, codec)
        and not codec.startswith(("DWVW", "MPEG"))  # libsndfile cannot write these.
    ]


@pytest.mark.parametrize(("container", "codec"), codecs_of_libsndfile())
def test_a_codec_is_decoded_as_libsndfile_does_or_rejected(
    container: str, codec: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, SAMPLES[:8000], 8000, format=container, subtype=codec)
    expected = soundfile.read(path, dtype="float32")[0]
    if codec.startswith(("G721", "G723", "NMS")):
        with pytest.raises(
            AudioError, match=r"its codec \w+ is not supported|not readable in full"
        ):
            read_waveform(path)
        return
    # Codecs with frames add samples up to the end of a frame.
    found = read_waveform(path).samples
    assert 8000 <= len(found) <= 8000 + 505
    # Programs round the predictions of ADPCM differently.
    tolerance = 0.01 if "ADPCM" in codec else 1e-6
    np.testing.assert_allclose(found[:8000], expected[:8000], rtol=0, atol=tolerance)


def test_vorbis_in_wav_is_rejected(tmp_path: Path) -> None:
    """WAV does not keep the lengths of Vorbis packets."""
    with av.open(tmp_path / "a.wav", "w") as container:
        stream = container.add_stream("vorbis", rate=RATE_HZ, layout="stereo")
        stream.codec_context.options = {"strict": "experimental"}
        samples = np.stack([SAMPLES, SAMPLES]).astype(np.float32) / 2**15
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match="its codec vorbis is not supported"):
        read_waveform(tmp_path / "a.wav")


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    path.write_bytes(encode(path, *FORMATS[".webm"]).replace(b"A_OPUS", b"A_XPUS"))
    with pytest.raises(AudioError, match="its codec is unknown; copy or export it again"):
        read_waveform(path)


@pytest.mark.parametrize(
    ("container", "codec"), [("avi", "pcm_s16le"), ("voc", "pcm_s16le"), ("mpegts", "mp2")]
)
def test_a_format_that_is_not_supported_is_named(
    container: str, codec: str, tmp_path: Path
) -> None:
    encode(tmp_path / "a.wav", container, codec, RATE_HZ)
    with pytest.raises(AudioError, match=r"a\.wav: damaged, or of a format that is not supported"):
        read_waveform(tmp_path / "a.wav")


def test_a_playlist_cannot_make_ffmpeg_open_other_files(tmp_path: Path) -> None:
    encode(tmp_path / "other.mp3", *FORMATS[".mp3"])
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nother.mp3\n#EXT-X-ENDLIST\n"
    (tmp_path / "a.mp3").write_text(playlist)
    (tmp_path / "b.mp3").write_text("ffconcat version 1.0\nfile other.mp3\n")
    for name in ("a.mp3", "b.mp3"):
        with pytest.raises(AudioError, match=r"not readable as audio|format that is not supported"):
            read_waveform(tmp_path / name)


def test_damaged_files_of_every_format_end_in_a_waveform_or_an_audio_error(encoded: Path) -> None:
    """Random bytes in the header and in the data. A crash would end the test run."""
    content, rng = encoded.read_bytes(), np.random.default_rng(0)
    for i in range(30):
        damaged = bytearray(content)
        for position in rng.integers(0, 200 if i % 2 else len(content), 8):
            damaged[position] = rng.integers(256)
        encoded.write_bytes(damaged)
        try:
            message = str(read_waveform(encoded).duration_s)
        except AudioError as error:
            message = str(error)
            assert message.startswith(str(encoded))
        assert "\n" not in message
