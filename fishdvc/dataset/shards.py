"""Read and write shards: files of transcripts and codes, in the format of fish-speech v1.5.

A shard is a sequence of ``[uint32, little-endian: length][serialized TextData]``. The schema is
``text_data.proto``.
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

CLIP_LIST = "clips.json"
"""File beside the shards: ``{speaker: [clip, ...]}``, clips in the order of the sentences."""
_LENGTH = struct.Struct("<I")
_REMEDY = "run build_protos again"


@dataclass(frozen=True, eq=False)
class Sentence:
    """One clip.

    Attributes:
        texts: The transcript, or several alternatives.
        codes: ``(num_codebooks, frames)``, integers 0 to 65535. Read as uint16.
    """

    texts: tuple[str, ...]
    codes: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class SpeakerGroup:
    """The clips of one speaker.

    Attributes:
        name: The speaker.
        source: Where the clips are from; ``"folder"`` for a folder of files.
        sentences: The clips in order.
    """

    name: str
    source: str
    sentences: tuple[Sentence, ...]


def read_shard(path: Path) -> Iterator[SpeakerGroup]:
    """Read a shard, one speaker's group at a time.

    Raises:
        DatasetError: The file is truncated or damaged. The message names the file and the byte
            offset of the group.
    """
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        while (offset := file.tell()) < size_bytes:
            yield _read_group(file, where=f"{path}: byte {offset}")


def read_shards(folder: Path) -> Iterator[SpeakerGroup]:
    """Read all shards of a folder in the order of their names.

    Raises:
        DatasetError: The folder has no shards, or a shard is damaged.
    """
    paths = sorted(folder.glob("*.protos"))
    if not paths:
        raise DatasetError(f"{folder}: no shards (*.protos); {_REMEDY}")
    for path in paths:
        yield from read_shard(path)


def write_shards(folder: Path, groups: Iterable[SpeakerGroup], shard_size_bytes: int) -> list[Path]:
    """Write groups to ``00000000.protos``, ``00000001.protos``, ... Equal groups give equal bytes.

    Args:
        folder: A new folder.
        groups: Groups with codes in 0 to 65535.
        shard_size_bytes: A shard of this size or more gets no further group. Groups are not split,
            so a shard may be larger.

    Returns:
        The shards in order.

    Raises:
        DatasetError: A name or text is not valid Unicode.
    """
    folder.mkdir(parents=True)
    paths: list[Path] = []
    for group in groups:
        if not paths or paths[-1].stat().st_size >= shard_size_bytes:
            paths.append(folder / f"{len(paths):08d}.protos")
        message = _serialize(group)
        with paths[-1].open("ab") as file:
            file.write(_LENGTH.pack(len(message)))
            file.write(message)
    return paths


def _serialize(group: SpeakerGroup) -> bytes:
    try:
        message = text_data_pb2.TextData(source=group.source, name=group.name)
        for sentence in group.sentences:
            part = message.sentences.add(texts=sentence.texts)
            for row in sentence.codes.tolist():
                part.semantics.add(values=row)
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"speaker {group.name!r}: expected valid Unicode, got {error.object!r}; "
            "save the transcript as UTF-8, or rename the folder"
        ) from error
    return message.SerializeToString(deterministic=True)


def _read_group(file: BinaryIO, where: str) -> SpeakerGroup:
    header = file.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise DatasetError(f"{where}: expected a length of 4 bytes, got {len(header)}; {_REMEDY}")
    (length,) = _LENGTH.unpack(header)
    content = file.read(length)
    if len(content) < length:
        raise DatasetError(
            f"{where}: expected a group of {length} bytes, got {len(content)}; {_REMEDY}"
        )
    try:
        message = text_data_pb2.TextData.FromString(content)
    except DecodeError as error:
        raise DatasetError(f"{where}: not a TextData message: {error}; {_REMEDY}") from error
    sentences = tuple(
        Sentence(
            texts=tuple(part.texts),
            codes=_codes(part, where=f"{where}: speaker {message.name}, sentence {index}"),
        )
        for index, part in enumerate(message.sentences)
    )
    return SpeakerGroup(name=message.name, source=message.source, sentences=sentences)


def _codes(part: text_data_pb2.Sentence, where: str) -> NDArray[np.uint16]:
    try:
        return np.array([row.values for row in part.semantics], dtype=np.uint16)
    except ValueError as error:
        raise DatasetError(f"{where}: expected rows of equal length: {error}; {_REMEDY}") from error
