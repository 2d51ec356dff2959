"""build_protos: contents of shards, equal bytes for equal input, copies, and bad codes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishdvc.dataset.shards import read_shard
from fishdvc.errors import CheckpointError, DatasetError
from fishdvc.pipeline.build_protos import build_protos

RNG = np.random.default_rng(0)


@pytest.fixture
def run(shipped: Any, base_folder: Path) -> Any:
    def run(
        *,
        workers: int = 1,
        on_bad_clip: str = "fail",
        base: Path = base_folder,
        text_extension: str = ".lab",
        **changes: Any,
    ) -> str:
        return build_protos(
            shipped("dataset", on_bad_clip=on_bad_clip, text_extension=text_extension),
            shipped("build_protos", **changes),
            workers=workers,
            base=base,
            normalized=Path("normalized"),
            codes=Path("codes"),
            protos=Path("protos"),
            skipped=Path("skipped.txt"),
            metrics=Path("metrics.json"),
        )

    return run


def add(name: str, text: str = "Hello.", codes: np.ndarray | None = None) -> None:
    transcript, file = Path(f"normalized/{name}.lab"), Path(f"codes/{name}.npy")
    transcript.parent.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    transcript.write_text(text, encoding="utf-8")
    np.save(file, RNG.integers(0, 1000, (8, 6)).astype(np.uint16) if codes is None else codes)


@pytest.fixture
def _clips() -> None:
    for i in range(7):
        add(f"ann/{i}.5", f"Sentence {i}.")
    for i in range(3):
        add(f"more/bob/{i}", f"Satz {i}.")


def contents() -> dict[str, bytes]:
    folder = Path("protos")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.usefixtures("_clips")
def test_shards_hold_every_clip_once_with_its_text_and_codes(run: Any) -> None:
    add("ann/9.5", "<laugh> Two {cough}\n lines. ")
    summary = run(val_fraction=0.25)
    assert summary.startswith("build_protos: 8 clips to train on, 3 held out, 2 shards, 0 skipped")
    seen = []
    for split, count in (("train", 8), ("val", 3)):
        groups = list(read_shard(Path("protos") / split / "00000000.protos"))
        lists = json.loads((Path("protos") / split / "clips.json").read_text())
        assert [group.name for group in groups] == list(lists) == ["ann", "more/bob"]
        assert {group.source for group in groups} == {"folder"}
        clips = [clip for group in groups for clip in lists[group.name]]
        assert len(clips) == count
        assert clips == sorted(clips)
        sentences = [sentence for group in groups for sentence in group.sentences]
        for clip, sentence in zip(clips, sentences, strict=True):
            np.testing.assert_array_equal(sentence.codes, np.load(f"codes/{clip}.npy"))
            text = Path(f"normalized/{clip}.lab").read_text()
            assert sentence.texts == (" Two lines. " if clip == "ann/9.5" else text,)
        seen += clips
    assert sorted(seen) == sorted(
        [f"ann/{i}.5" for i in (*range(7), 9)] + [f"more/bob/{i}" for i in range(3)]
    )
    assert json.loads(Path("metrics.json").read_text()) == {
        "num_train_clips": 8,
        "num_val_clips": 3,
        "num_skipped": 0,
    }


@pytest.mark.usefixtures("_clips")
def test_equal_input_gives_equal_bytes_and_old_shards_are_removed(run: Any) -> None:
    run(workers=0)
    first = contents()
    run(workers=4)
    assert contents() == first
    run(shard_size_mb=1e-6)
    assert "train/00000001.protos" in contents()
    run()
    assert contents() == first
    run(seed=43)
    assert contents() != first


@pytest.mark.usefixtures("_clips")
def test_bad_clips_are_all_listed_or_skipped(run: Any) -> None:
    run()
    before = contents()
    add("ann/0.5", codes=np.zeros((7, 4), np.uint16))
    add("ann/1.5", codes=np.zeros((8, 0), np.uint16))
    add("ann/2.5", codes=np.zeros(8, np.uint16))
    add("ann/3.5", codes=np.full((8, 4), 1024, np.uint16))
    add("ann/4.5", codes=np.full((8, 4), -1, np.int64))
    add("ann/5.5", codes=np.zeros((8, 4), np.float32))
    # Pickled data must not be loaded, because it may run code.
    np.save("codes/ann/6.5.npy", np.array([{"a": 1}], dtype=object))
    Path("codes/more/bob/0.npy").unlink()
    Path("codes/more/bob/1.npy").write_bytes(b"\x93NUMPY\x01\0")
    add("ann/7.5", codes=np.uint16(1))
    add("ann/8.5")
    with Path("codes/ann/8.5.npy").open("wb") as file:
        np.savez(file, np.zeros((8, 4), np.uint16))
    with pytest.raises(DatasetError) as caught:
        run()
    message = str(caught.value)
    assert "(11 problems):" in message
    for problem in (
        "codes/more/bob/0.npy: no such file; extract_vq skipped this clip",
        "codes/more/bob/1.npy: not a complete .npy file: ",
        "codes/ann/0.5.npy: expected integers of the shape (8, frames), got uint16 of (7, 4)",
        "codes/ann/1.5.npy: expected integers of the shape (8, frames), got uint16 of (8, 0)",
        "codes/ann/2.5.npy: expected integers of the shape (8, frames), got uint16 of (8,)",
        "codes/ann/3.5.npy: expected codes in 0..1023, got 1024..1024",
        "codes/ann/4.5.npy: expected codes in 0..1023, got -1..-1",
        "codes/ann/5.5.npy: expected integers of the shape (8, frames), got float32 of (8, 4)",
        "codes/ann/6.5.npy: not a complete .npy file: ",
        "codes/ann/7.5.npy: expected integers of the shape (8, frames), got uint16 of ()",
        "codes/ann/8.5.npy: not a complete .npy file: ",
    ):
        assert problem in message
    assert message.count("delete it and the cache folder, then run extract_vq again") == 10
    assert contents() == before

    add("ann/7.5")
    add("ann/8.5")
    summary = run(on_bad_clip="skip")
    assert "2 clips to train on, 1 held out" in summary
    assert "9 skipped" in summary
    assert len(Path("skipped.txt").read_text().splitlines()) == 12  # with the copies 7.5 and 8.5


def test_a_config_that_cannot_be_used_or_no_clip_is_an_error(run: Any) -> None:
    Path("config.json").write_text('{"num_codebooks": 8}')
    with pytest.raises(CheckpointError, match=r"config\.json"):
        run(base=Path())
    Path("normalized").mkdir()
    with pytest.raises(DatasetError, match=r"normalized: no \.lab in it; run the stage"):
        run()


@pytest.mark.usefixtures("_clips")
def test_a_transcript_that_is_not_utf8_is_an_error(run: Any) -> None:
    Path("normalized/ann/0.5.lab").write_bytes(b"\xff")
    with pytest.raises(DatasetError, match=r"ann/0\.5\.lab: not UTF-8"):
        run()


@pytest.mark.usefixtures("_clips")
def test_copies_are_in_one_split_and_reported(run: Any) -> None:
    original = np.load("codes/ann/0.5.npy")
    names = [f"ann/{i}.5" for i in (0, 10, 11, 12, 13, 14)]
    for name in names:
        add(name, "Sentence 0.", original)
    for seed in range(20):
        assert ", 6 are copies of each other, " in run(seed=seed)
        splits = [
            split
            for split in ("train", "val")
            for clips in json.loads(Path(f"protos/{split}/clips.json").read_text()).values()
            if set(clips) & set(names)
        ]
        assert len(splits) == 1
    assert Path("skipped.txt").read_text().splitlines() == [
        "build_protos: problems: 0",
        "build_protos: notes: 1",
        "ann/0.5, ann/10.5, ann/11.5, ann/12.5, ann/13.5, ann/14.5: copies of one clip (same audio)"
        ", all to train on or all held out",
    ]


@pytest.mark.usefixtures("_clips")
def test_deleted_annotations_are_counted_and_shown(run: Any) -> None:
    add("ann/odd", "If a <b and c> d, {press} 1.")
    assert ", 1 have annotations that are deleted, " in run()
    assert Path("skipped.txt").read_text().splitlines() == [
        "build_protos: problems: 0",
        "build_protos: notes: 1",
        "ann/odd: deleted from its transcript as annotations: '{press}', '<b and c>'",
    ]


@pytest.mark.usefixtures("_clips")
def test_a_suffix_of_transcripts_may_have_two_dots(run: Any) -> None:
    for path in Path("normalized").rglob("*.lab"):
        path.rename(path.with_suffix(".normalized.txt"))
    summary = run(text_extension=".normalized.txt")
    assert summary.startswith("build_protos: 9 clips to train on, 1 held out")
