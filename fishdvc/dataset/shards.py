"""Shards: files of transcripts and codes, in the wire format of fish-speech v1.5.

A shard is a run of ``[uint32, little-endian: length][serialized TextData]``; the schema is
``text_data.proto``. Knows nothing of where codes come from or what they are used for.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from fishdvc.dataset import text_data_pb2
from fishdvc.errors import DatasetError

MAX_CODE = np.iinfo(np.uint16).max
_LENGTH = struct.Struct("<I")
_MAX_MESSAGE_BYTES = 2**31 - 1  # the limit of protocol buffers
_REMEDY = "build the shards anew"


@dataclass(frozen=True, eq=False)
class Sentence:
    """One clip.

    Attributes:
        texts: Its transcript, or several alternatives.
        codes: ``(num_codebooks, frames)``, whole numbers 0 to 65535; read as uint16.
    """

    texts: tuple[str, ...]
    codes: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class SpeakerGroup:
    """The clips of one speaker.

    Attributes:
        name: The speaker.
        source: Where the clips are from, ``"folder"`` for a folder of files.
        sentences: The clips, in their order.
    """

    name: str
    source: str
    sentences: tuple[Sentence, ...]


def read_shard(path: str | Path) -> Iterator[SpeakerGroup]:
    """Read a shard, one speaker's group at a time.

    Raises:
        DatasetError: The file is missing, cut off or damaged, or codes are ragged or over 65535;
            names the file and the byte offset of the group's length field.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            while (offset := file.tell()) < size_bytes:
                message = _read_message(file, where=f"{path}: byte {offset}")
                yield _group_of(message, where=f"{path}: byte {offset}: speaker {message.name}")
    except OSError as error:
        raise DatasetError(f"{path}: a shard, got {error.strerror}; {_REMEDY}") from error


def read_shards(folder: str | Path) -> Iterator[SpeakerGroup]:
    """Read all shards of a folder in the order of their names.

    Raises:
        DatasetError: The folder holds no shard, or as ``read_shard``.
    """
    paths = sorted(Path(folder).glob("*.protos"))
    if not paths:
        raise DatasetError(f"{folder}: shards (*.protos), got none; {_REMEDY}")
    for path in paths:
        yield from read_shard(path)


def write_shard(path: str | Path, groups: Iterable[SpeakerGroup]) -> None:
    """Write groups to one shard; equal groups give equal bytes.

    The file appears under its name only when it is complete.

    Raises:
        DatasetError: Codes are not a matrix of whole numbers in 0 to 65535, or a text or group
            cannot be stored; names the speaker.
    """
    _write_messages(Path(path), (_serialize(group) for group in groups))


def write_shards(
    folder: str | Path, groups: Iterable[SpeakerGroup], shard_size_bytes: int
) -> list[Path]:
    """Write groups to ``00000000.protos``, ``00000001.protos``, ... of a folder.

    A shard is closed once it holds ``shard_size_bytes`` or more; a group is never parted, so a
    large one makes a large shard. The folder is made if need be; shards that it held before and
    that are not written anew are removed.

    Returns:
        The shards written, in order; none where there are no groups.

    Raises:
        DatasetError: As ``write_shard``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    messages: list[bytes] = []
    size_bytes = 0

    def close_shard() -> None:
        paths.append(folder / f"{len(paths):08d}.protos")
        _write_messages(paths[-1], messages)

    for group in groups:
        messages.append(_serialize(group))
        size_bytes += _LENGTH.size + len(messages[-1])
        if size_bytes >= shard_size_bytes:
            close_shard()
            messages, size_bytes = [], 0
    if messages:
        close_shard()
    for stale in set(folder.glob("*.protos")).difference(paths):
        stale.unlink()
    return paths


def _write_messages(path: Path, messages: Iterable[bytes]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for message in messages:
                file.write(_LENGTH.pack(len(message)))
                file.write(message)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _serialize(group: SpeakerGroup) -> bytes:
    try:
        serialized = _message_of(group).SerializeToString(deterministic=True)
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"speaker {group.name!r}: names and texts of valid Unicode, got {error.object!r}; "
            "save the transcript as UTF-8, or rename the folder"
        ) from error
    if len(serialized) > _MAX_MESSAGE_BYTES:
        raise DatasetError(
            f"speaker {group.name}: at most {_MAX_MESSAGE_BYTES} bytes, got {len(serialized)}; "
            "part the speaker's clips into several folders"
        )
    return serialized


def _message_of(group: SpeakerGroup) -> text_data_pb2.TextData:
    message = text_data_pb2.TextData(source=group.source, name=group.name)
    for index, sentence in enumerate(group.sentences):
        where = f"speaker {group.name}, sentence {index}"
        codes = sentence.codes
        if codes.ndim != 2 or codes.dtype.kind not in "iu":
            raise DatasetError(
                f"{where}: codes (num_codebooks, frames) of whole numbers, got {codes.shape} of "
                f"{codes.dtype}; extract the clip's codes anew"
            )
        if codes.size and not 0 <= codes.min() <= codes.max() <= MAX_CODE:
            raise DatasetError(
                f"{where}: codes in 0..{MAX_CODE}, got {codes.min()}..{codes.max()}; "
                "extract the clip's codes anew"
            )
        part = message.sentences.add(texts=sentence.texts)
        for row in codes.tolist():
            part.semantics.add(values=row)
    return message


def _read_message(file: BinaryIO, where: str) -> text_data_pb2.TextData:
    header = file.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise DatasetError(f"{where}: a length of 4 bytes, got {len(header)} bytes; {_REMEDY}")
    (length,) = _LENGTH.unpack(header)
    # A wrong length must not make room for up to 4 GB: read no more than the file holds.
    content = file.read(length)
    if len(content) < length:
        raise DatasetError(f"{where}: a group of {length} bytes, got {len(content)}; {_REMEDY}")
    try:
        return text_data_pb2.TextData.FromString(content)
    except DecodeError as error:
        raise DatasetError(f"{where}: a TextData message, got {error}; {_REMEDY}") from error


def _group_of(message: text_data_pb2.TextData, where: str) -> SpeakerGroup:
    sentences = tuple(
        Sentence(texts=tuple(part.texts), codes=_codes_of(part, where=f"{where}, sentence {index}"))
        for index, part in enumerate(message.sentences)
    )
    return SpeakerGroup(name=message.name, source=message.source, sentences=sentences)


def _codes_of(part: text_data_pb2.Sentence, where: str) -> NDArray[np.uint16]:
    lengths = [len(row.values) for row in part.semantics]
    if len(set(lengths)) > 1:
        raise DatasetError(f"{where}: rows of codes of one length, got {lengths}; {_REMEDY}")
    codes = np.empty((len(lengths), lengths[0] if lengths else 0), dtype=np.uint16)
    for row, semantics in zip(codes, part.semantics, strict=True):
        values = np.fromiter(semantics.values, dtype=np.uint32, count=len(row))
        if values.size and values.max() > MAX_CODE:
            raise DatasetError(f"{where}: codes up to {MAX_CODE}, got {values.max()}; {_REMEDY}")
        row[:] = values
    return codes
