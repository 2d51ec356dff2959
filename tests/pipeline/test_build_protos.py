"""build_protos: contents of shards, equal bytes for equal input, the split, and bad codes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishdvc.dataset.shards import read_shard
from fishdvc.errors import CheckpointError, DatasetError
from fishdvc.pipeline.build_protos import build_protos, hold_out

RNG = np.random.default_rng(0)


@pytest.fixture
def run(shipped: Any, base_folder: Path) -> Any:
    def run(
        *, workers: int = 1, on_bad_clip: str = "fail", base: Path = base_folder, **changes: Any
    ) -> str:
        return build_protos(
            shipped("dataset", on_bad_clip=on_bad_clip),
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
        assert [group.name for group in groups] == list(lists) == ["ann", "bob"]
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
        "codes/more/bob/1.npy: cannot be read as codes: ",
        "codes/ann/0.5.npy: expected integers of the shape (8, frames), got uint16 of (7, 4)",
        "codes/ann/1.5.npy: expected integers of the shape (8, frames), got uint16 of (8, 0)",
        "codes/ann/2.5.npy: expected integers of the shape (8, frames), got uint16 of (8,)",
        "codes/ann/3.5.npy: expected codes in 0..1023, got 1024..1024",
        "codes/ann/4.5.npy: expected codes in 0..1023, got -1..-1",
        "codes/ann/5.5.npy: expected integers of the shape (8, frames), got float32 of (8, 4)",
        "codes/ann/6.5.npy: cannot be read as codes: Object arrays",
        "codes/ann/7.5.npy: expected integers of the shape (8, frames), got uint16 of ()",
        "codes/ann/8.5.npy: expected integers of the shape (8, frames), got several arrays",
    ):
        assert problem in message
    assert message.count("delete it and the cache folder, then run extract_vq again") == 10
    assert contents() == before

    add("ann/7.5")
    add("ann/8.5")
    summary = run(on_bad_clip="skip")
    assert "2 clips to train on, 1 held out" in summary
    assert "9 skipped" in summary
    assert len(Path("skipped.txt").read_text().splitlines()) == 10


def test_a_config_that_cannot_be_used_or_no_clip_is_an_error(run: Any) -> None:
    Path("config.json").write_text('{"num_codebooks": 8}')
    with pytest.raises(CheckpointError, match=r"config\.json"):
        run(base=Path())
    with pytest.raises(DatasetError, match="no clip is left"):
        run()


def speakers_of(counts: dict[str, int]) -> list[str]:
    return [f"{name}/{i}" for name, count in counts.items() for i in range(count)]


COUNTS = {"ann": 100, "bob": 5, "carl": 4, "more/dora": 33, "eve": 1}


@pytest.mark.parametrize("val_fraction", [0.01, 0.1, 0.5])
def test_the_share_of_each_speaker_is_held_out(val_fraction: float) -> None:
    held_out = hold_out(speakers_of(COUNTS), val_fraction=val_fraction, seed=0)
    found = Counter(Path(name).parent.as_posix() for name in held_out)
    for speaker, count in COUNTS.items():
        minimum = 1 if count >= 5 else 0
        assert found[speaker] == max(minimum, round(val_fraction * count))
        assert found[speaker] < count


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_clips() -> None:
    names = speakers_of(COUNTS)
    choices = {hold_out(names, val_fraction=0.1, seed=seed) for seed in range(10)}
    assert len(choices) == 10
    assert hold_out(names[::-1], val_fraction=0.1, seed=3) in choices


@pytest.mark.parametrize("count", range(20, 60, 4))
def test_adding_a_clip_moves_at_most_one_other(count: int) -> None:
    names = speakers_of({"ann": count, "bob": 9})
    before = hold_out(names, val_fraction=0.1, seed=count)
    after = hold_out([*names, "ann/new"], val_fraction=0.1, seed=count)
    assert len((before ^ after) - {"ann/new"}) <= 1
    assert all(name.startswith("ann/") for name in before ^ after)


@pytest.mark.parametrize(
    "counts", [{"ann": 2}, {"ann": 1, "bob": 1}, {"ann": 4}, {"ann": 1, "bob": 1, "eve": 2}]
)
def test_one_clip_of_a_small_corpus_is_held_out(counts: dict[str, int]) -> None:
    assert len(hold_out(speakers_of(counts), val_fraction=0.1, seed=0)) == 1


def test_a_single_clip_raises() -> None:
    with pytest.raises(DatasetError, match="expected at least 2 clips"):
        hold_out(["ann/1"], val_fraction=0.1, seed=0)
