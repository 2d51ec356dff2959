import struct
from pathlib import Path

import numpy as np
import pytest

from fishdvc.dataset import text_data_pb2
from fishdvc.dataset.shards import (
    Sentence,
    SpeakerGroup,
    read_shard,
    read_shards,
    write_shards,
)
from fishdvc.errors import DatasetError


def group(name: str, *shapes: tuple[int, int]) -> SpeakerGroup:
    rng = np.random.default_rng(len(shapes))
    sentences = tuple(
        Sentence((f"text {number}",), rng.integers(1000, size=shape, dtype=np.uint16))
        for number, shape in enumerate(shapes)
    )
    return SpeakerGroup(name, "folder", sentences)


def framed(message: bytes) -> bytes:
    return struct.pack("<I", len(message)) + message


def with_rows(*rows: list[int]) -> bytes:
    message = text_data_pb2.TextData(name="spk")
    part = message.sentences.add(texts=["a"])
    for row in rows:
        part.semantics.add(values=row)
    return message.SerializeToString()


def assert_equal_groups(left: list[SpeakerGroup], right: list[SpeakerGroup]) -> None:
    def plain(groups: list[SpeakerGroup]) -> list[object]:
        return [
            (g.name, g.source, [(s.texts, s.codes.tolist()) for s in g.sentences]) for g in groups
        ]

    assert plain(left) == plain(right)


def write_one(folder: Path, groups: list[SpeakerGroup]) -> Path:
    (path,) = write_shards(folder, groups, 10**9)
    return path


def test_a_shard_of_the_reference_is_read_and_written_with_the_same_bytes(
    assets: Path, tmp_path: Path
) -> None:
    groups = list(read_shard(assets / "dataset.protos"))
    assert [(g.name, g.source) for g in groups] == [("spk-a", "golden"), ("spk-b", "golden")]
    assert [[s.codes.shape for s in g.sentences] for g in groups] == [
        [(8, 12), (8, 30), (8, 21)],
        [(8, 7), (8, 44)],
    ]
    assert groups[0].sentences[0].texts == ("Activated.\n",)
    assert groups[0].sentences[0].codes.dtype == np.uint16
    again = write_one(tmp_path / "again", groups)
    assert again.read_bytes() == (assets / "dataset.protos").read_bytes()


def test_groups_that_are_written_and_read_stay_the_same(tmp_path: Path) -> None:
    extremes = np.array([[0, 65535, 127, 128]], dtype=np.int64)
    groups = [
        SpeakerGroup("名前", "folder", (Sentence(("one", "two 😀"), extremes),)),
        SpeakerGroup("empty", "", ()),
        group("spk", (8, 100), (8, 1)),
    ]
    assert_equal_groups(list(read_shard(write_one(tmp_path / "new", groups))), groups)


def test_a_shard_of_the_given_size_gets_no_further_group(tmp_path: Path) -> None:
    groups = [group(f"spk{number}", (8, 50)) for number in range(5)]
    paths = write_shards(tmp_path / "ones", groups, shard_size_bytes=1)
    assert [path.name for path in paths] == [f"0000000{number}.protos" for number in range(5)]
    assert_equal_groups(list(read_shards(tmp_path / "ones")), groups)

    size_bytes = paths[0].stat().st_size + 1
    paths = write_shards(tmp_path / "twos", groups, shard_size_bytes=size_bytes)
    assert [len(list(read_shard(path))) for path in paths] == [2, 2, 1]
    assert_equal_groups(list(read_shards(tmp_path / "twos")), groups)


@pytest.mark.parametrize("num_bytes", [1, 4, 100])
def test_a_truncated_shard_raises_with_its_offset(tmp_path: Path, num_bytes: int) -> None:
    offset = write_one(tmp_path / "first", [group("first", (8, 30))]).stat().st_size
    path = write_one(tmp_path / "both", [group("first", (8, 30)), group("second", (8, 30))])
    path.write_bytes(path.read_bytes()[: offset + num_bytes])
    groups = read_shard(path)
    assert next(groups).name == "first"
    with pytest.raises(DatasetError, match=rf"00000000\.protos: byte {offset}: damaged: .* again"):
        next(groups)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<I", 2**32 - 1) + b"abc", "damaged: expected 4294967299 bytes, got 7"),
        (framed(b"\xff\xff\xff"), "damaged: "),
        (framed(with_rows([1, 2], [1])), "speaker spk, sentence 0: expected rows"),
        (framed(with_rows([1, 65536])), "speaker spk, sentence 0: expected codes up to 65535"),
    ],
)
def test_a_damaged_shard_raises(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "0.protos").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"0\.protos: byte 0: {message}"):
        list(read_shards(tmp_path))


def test_a_folder_without_shards_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no shards"):
        list(read_shards(tmp_path))


@pytest.mark.parametrize(("name", "text"), [("caf\udce9", "a"), ("spk", "caf\udce9")])
def test_a_name_or_text_that_is_not_unicode_raises(tmp_path: Path, name: str, text: str) -> None:
    bad = SpeakerGroup(name, "folder", (Sentence((text,), np.zeros((8, 2), dtype=np.uint16)),))
    with pytest.raises(DatasetError, match=r"speaker '.*caf\\udce9"):
        write_shards(tmp_path / "new", [bad], 1)
