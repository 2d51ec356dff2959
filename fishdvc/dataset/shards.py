"""Read and write shards: files of transcripts and codes, in the format of fish-speech v1.5.

A shard is a sequence of ``[uint32, little-endian: length][serialized TextData]``. The schema is
``text_data.proto``.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from fishdvc.dataset import text_data_pb2
from fishdvc.errors import DatasetError
from fishdvc.storage.small_files import read_small_file

CLIP_LIST = "clips.json"
"""File beside the shards: ``{speaker: [clip, ...]}``, clips in the order of the sentences."""
MAX_SHARD_BYTES = 2**31
"""The codes of 1,700 hours."""
_LENGTH = struct.Struct("<I")
MAX_CODE = np.iinfo(np.uint16).max
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
        DatasetError: The file cannot be read, is larger than ``MAX_SHARD_BYTES``, truncated or
            damaged. The message names the file, and the byte offset of a damaged group.
    """
    try:
        content = read_small_file(path, max_bytes=MAX_SHARD_BYTES)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; {_REMEDY}") from error
    offset = 0
    while offset < len(content):
        where = f"{path}: byte {offset}"
        try:
            (length,) = _LENGTH.unpack_from(content, offset)
            end = offset + _LENGTH.size + length
            if end > len(content):
                raise DecodeError(f"expected {end} bytes, got {len(content)}")
            message = text_data_pb2.TextData.FromString(content[offset + _LENGTH.size : end])
        except (struct.error, DecodeError) as error:
            raise DatasetError(f"{where}: damaged: {error}; {_REMEDY}") from error
        sentences = tuple(
            Sentence(
                texts=tuple(part.texts),
                codes=_codes(part, where=f"{where}: speaker {message.name}, sentence {index}"),
            )
            for index, part in enumerate(message.sentences)
        )
        yield SpeakerGroup(name=message.name, source=message.source, sentences=sentences)
        offset = end


def read_shards(folder: str | Path) -> Iterator[SpeakerGroup]:
    """Read all shards of a folder in the order of their names.

    Raises:
        DatasetError: The folder has no shards, or a shard is damaged.
    """
    paths = sorted(Path(folder).glob("*.protos"))
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


def _codes(part: text_data_pb2.Sentence, where: str) -> NDArray[np.uint16]:
    try:
        codes = np.array([row.values for row in part.semantics], dtype=np.uint32)
    except ValueError as error:
        raise DatasetError(f"{where}: expected rows of equal length: {error}; {_REMEDY}") from error
    if codes.max(initial=0) > MAX_CODE:
        raise DatasetError(
            f"{where}: expected codes up to {MAX_CODE}, got {codes.max()}; {_REMEDY}"
        )
    return codes.astype(np.uint16)
