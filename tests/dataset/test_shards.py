import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fishdvc.dataset import text_data_pb2
from fishdvc.dataset.shards import (
    Sentence,
    SpeakerGroup,
    read_shard,
    read_shards,
    write_shard,
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


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(message)) + message for message in messages)


def with_codes(*rows: list[int]) -> bytes:
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


def test_a_shard_of_the_reference_reads_and_writes_the_same_bytes(
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
    write_shard(tmp_path / "again.protos", groups)
    assert (tmp_path / "again.protos").read_bytes() == (assets / "dataset.protos").read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    extremes = np.array([[0, 65535, 127, 128]], dtype=np.int64)
    groups = [
        SpeakerGroup("名前", "folder", (Sentence(("one", "two 😀"), extremes),)),
        SpeakerGroup("empty", "", ()),
        SpeakerGroup("no codes", "folder", (Sentence((), np.empty((0, 0), dtype=np.uint16)),)),
        group("spk", (8, 100), (8, 1)),
    ]
    write_shard(tmp_path / "0.protos", groups)
    assert_equal_groups(list(read_shard(tmp_path / "0.protos")), groups)


def test_shards_close_at_their_size_and_stale_ones_go(tmp_path: Path) -> None:
    groups = [group(f"spk{number}", (8, 50)) for number in range(5)]
    (tmp_path / "00000099.protos").touch()
    paths = write_shards(tmp_path / "new", groups, shard_size_bytes=1)
    assert [path.name for path in paths] == [f"0000000{number}.protos" for number in range(5)]
    assert_equal_groups(list(read_shards(tmp_path / "new")), groups)
    one_group_bytes = paths[0].stat().st_size

    paths = write_shards(tmp_path, groups, shard_size_bytes=one_group_bytes + 1)
    assert [len(list(read_shard(path))) for path in paths] == [2, 2, 1]
    assert sorted(tmp_path.glob("*.*")) == paths
    assert_equal_groups(list(read_shards(tmp_path)), groups)


def test_equal_groups_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shard(tmp_path / name, [group("spk", (8, 30), (8, 20))])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 100])
def test_a_cut_off_shard_is_named_with_its_offset(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "0.protos"
    write_shard(path, [group("first", (8, 30))])
    offset = path.stat().st_size
    write_shard(path, [group("first", (8, 30)), group("second", (8, 30))])
    path.write_bytes(path.read_bytes()[: offset + cut])
    groups = read_shard(path)
    assert next(groups).name == "first"
    with pytest.raises(DatasetError, match=rf"0\.protos: byte {offset}: .*anew"):
        next(groups)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<I", 2**32 - 1) + b"abc", "a group of 4294967295 bytes, got 3"),
        (framed(b"\xff\xff\xff"), "a TextData message"),
        (framed(with_codes([1, 2], [1])), r"speaker spk, sentence 0: rows .* got \[2, 1\]"),
        (framed(with_codes([1, 65536])), r"speaker spk, sentence 0: codes .* got 65536"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "0.protos").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"0\.protos: byte 0: {message}"):
        list(read_shard(tmp_path / "0.protos"))


def test_missing_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        list(read_shard(tmp_path / "0.protos"))
    with pytest.raises(DatasetError, match="got none"):
        list(read_shards(tmp_path))


@pytest.mark.parametrize(
    "codes", [np.full((8, 2), -1), np.full((8, 2), 65536), np.zeros((8, 2)), np.zeros(8, dtype=int)]
)
def test_codes_that_cannot_be_stored_are_named_and_leave_no_file(
    tmp_path: Path, codes: np.ndarray
) -> None:
    bad = SpeakerGroup("spk", "folder", (Sentence(("a",), codes),))
    with pytest.raises(DatasetError, match="speaker spk, sentence 0: codes"):
        write_shard(tmp_path / "0.protos", [group("good", (8, 2)), bad])
    assert list(tmp_path.iterdir()) == []


def test_names_and_texts_that_are_no_unicode_are_named(tmp_path: Path) -> None:
    codes = np.zeros((8, 2), dtype=np.uint16)
    for name, text in (("caf\udce9", "a"), ("spk", "caf\udce9")):
        bad = SpeakerGroup(name, "folder", (Sentence((text,), codes),))
        with pytest.raises(DatasetError, match=r"speaker '.*caf\\udce9"):
            write_shard(tmp_path / "0.protos", [bad])


def test_shards_need_no_torch() -> None:
    code = "import sys, fishdvc.dataset.shards; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
