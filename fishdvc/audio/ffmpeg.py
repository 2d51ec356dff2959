"""Decode any audio format with FFmpeg, which is part of PyAV, to the end of the data."""

import io
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fishdvc.audio import asf
from fishdvc.audio.limits import check_limits
from fishdvc.audio.ogg import find_missing_pages
from fishdvc.audio.riff import PLACEHOLDER_BYTES
from fishdvc.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer

FORMATS = "wav,w64,aiff,caf,au,flac,mp3,aac,ogg,matroska,mov,asf,amr,amrnb,amrwb,wv,ape,tta"
"""Names in FFmpeg. Some other formats, such as playlists, make FFmpeg open other files or URLs."""
UNCOMPRESSED = ("w64", "aiff", "caf", "au")
"""Formats whose header gives the exact number of uncompressed samples. For WAV see ``riff``."""
DECODED_WRONGLY = {
    "wav": ("adpcm_g726", "vorbis"),
    "w64": ("adpcm_g726", "vorbis"),
    "au": ("adpcm_g726le",),
}
"""Codecs that FFmpeg decodes to wrong samples without an error, by format."""
MAX_GAP_S = 0.1
"""Some recorders write times that jitter by less."""
MPEG_PADDING = bytes(4096)
"""More than a frame of MPEG audio."""


def decode(content: bytes) -> tuple[npt.NDArray[np.float32], int]:
    """Decode the first audio stream of a file. Its content decides the format, not its suffix.

    Args:
        content: The file. The header of a WAV file states the true length.

    Returns:
        Samples ``(samples, channels)`` and the sample rate in Hz.

    Raises:
        AudioError: FFmpeg reports damage, the data end within a frame or a page, or the file
            contains no audio, has a codec that is not supported, or exceeds a limit.
        Exception: Others of PyAV, for example if the format is unknown.
    """
    # The import takes 0.1 s, and datasets of WAV or FLAC files do not need it.
    import av.logging

    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    with av.logging.Capture() as log, _open(content) as container:
        if not container.streams.audio:
            raise AudioError("contains no audio; export it again, or remove it")
        # PyAV's types leave out that there may be no codec.
        streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not streams:
            raise AudioError("its codec is unknown; copy or export it again, or remove it")
        if len(streams) > 1:
            raise AudioError(
                f"contains {len(streams)} audio tracks; export one of them, or remove it"
            )
        (stream,) = streams
        codec = stream.codec_context.codec.canonical_name
        if codec in DECODED_WRONGLY.get(container.format.name, ()):
            raise AudioError(
                f"its codec {codec} is not supported; convert it to 16-bit WAV, or remove it"
            )
        stream.codec_context.options = {"err_detect": "crccheck"}
        if codec == "alac":
            # Its last frame is short already. FFmpeg cuts it a second time in CAF files.
            stream.codec_context.options["flags2"] = "+skip_manual"
        check_limits(sample_rate_hz=stream.rate, num_values=0)
        frame, damage = _decode_stream(container, stream, timed=_has_times(container, content))
        if container.format.name == "ogg" and (missing := find_missing_pages(content)):
            damage.append(missing)
        if asf.is_cut(content):
            damage.append("the data end early")
        sources = (container.format.name, stream.codec_context.name)
        damage += [message.strip() for _, source, message in log if source in sources]
        if damage:
            raise AudioError(
                f"not readable in full: {damage[0]}; copy or export it again, or remove it"
            )
        if frame is None:
            return np.zeros((0, 1), np.float32), stream.rate
        return _float_samples(frame), frame.sample_rate


def _open(content: bytes) -> "InputContainer":
    import av

    # With these, a file cannot make FFmpeg open other files or URLs.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        return av.open(io.BytesIO(content), "r", options=options, metadata_errors="replace")
    except (av.ArgumentError, av.PatchWelcomeError) as error:
        raise AudioError(
            "damaged, or of a format that is not supported; convert it to 16-bit WAV, or remove it"
        ) from error


def _has_times(container: "InputContainer", content: bytes) -> bool:
    """Whether each packet or fragment states its time, so that a gap shows that others are lost.

    In MP4 without fragments, a gap comes from its edit list.
    """
    names = container.format.name.split(",")
    return "asf" in names or "matroska" in names or ("mov" in names and b"moof" in content)


def _decode_stream(
    container: "InputContainer", stream: "AudioStream", *, timed: bool
) -> tuple["AudioFrame | None", list[str]]:
    """Return all samples as one frame, and signs that samples are lost."""
    import av

    fifo, damage = av.AudioFifo(), list[str]()
    counted = container.format.name in UNCOMPRESSED and stream.codec_context.name.startswith("pcm_")
    last: Packet[AudioStream] | None = None
    first_kind: tuple[str, int, int] | None = None
    end_s = math.inf
    for packet in container.demux(stream):
        last = packet if packet.size else last
        # FFmpeg also marks the end of samples whose length is unknown.
        if packet.is_corrupt and not counted:
            damage.append("the data end early")
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if any(bytes(packet)):  # Zeros after the last frame are padding.
                damage.append(error.strerror or str(error))
            continue
        for frame in frames:
            kind = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
            # AudioFifo does not check this, and crashes.
            if kind != (first_kind := first_kind or kind):
                return None, ["the sample rate or the number of channels changes"]
            if timed and frame.time is not None:
                if frame.time > end_s + MAX_GAP_S:
                    damage.append(f"{frame.time - end_s:.2f} s are missing after {end_s:.2f} s")
                end_s = frame.time + frame.samples / frame.sample_rate
            frame.pts = None  # Otherwise the FIFO compares it with the number of samples.
            fifo.write(frame)
        if first_kind:
            _, num_channels, rate_hz = first_kind
            check_limits(sample_rate_hz=rate_hz, num_values=fifo.samples * num_channels)
    if last is not None and _is_cut(last, stream):
        damage.append("the data end within a frame")
    if counted and _is_short(fifo.samples, stream):
        damage.append("the data end early")
    return fifo.read(), damage


def _is_cut(last: "Packet[AudioStream]", stream: "AudioStream") -> bool:
    """Whether the last frame of MPEG audio (MP3) is shorter than its own header says."""
    import av

    data = bytes(last)
    codec = stream.codec_context.codec
    if not codec.name.startswith(("mp2", "mp3")) or data[0] != 0xFF:
        return False
    frames = av.CodecContext.create(codec, "r").parse(data + MPEG_PADDING)
    return bool(frames) and frames[0].size > len(data)


def _is_short(num_samples: int, stream: "AudioStream") -> bool:
    """Whether uncompressed samples are fewer than the header says. FFmpeg does not report that."""
    if not stream.duration or not stream.time_base:
        return False
    decoder = stream.codec_context
    stated = int(stream.duration * stream.time_base * decoder.sample_rate)
    stated_bytes = stated * decoder.channels * decoder.format.bytes
    return num_samples < stated and stated_bytes < PLACEHOLDER_BYTES


def _float_samples(frame: "AudioFrame") -> npt.NDArray[np.float32]:
    """Convert to float32 ``(samples, channels)`` with full scale at -1 and 1."""
    samples = frame.to_ndarray()
    num_channels = frame.layout.nb_channels
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, num_channels)
    if np.issubdtype(samples.dtype, np.integer):
        full_scale = np.float32(2 ** (8 * samples.dtype.itemsize - 1))
        samples = samples / full_scale - (samples.dtype.kind == "u")
    return samples.astype(np.float32)
