"""normalize: the same tree at one loudness, clip by clip, and nothing lost in silence."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fishdvc.audio.loudness import integrated_loudness_lufs
from fishdvc.corpus.clips import Clip
from fishdvc.errors import DatasetError
from fishdvc.pipeline.normalize import normalize, normalize_clip
from fishdvc.storage.cache import FileCache

RAW = Path("raw")


@pytest.fixture
def run(shipped: Any) -> Any:
    def run(*, dataset: dict[str, Any] | None = None, **changes: Any) -> str:
        return normalize(
            shipped("dataset", path="raw", **(dataset or {})),
            shipped("normalize", workers=1, **changes),
            normalized=Path("normalized"),
            skipped=Path("skipped.txt"),
            metrics=Path("metrics.json"),
        )

    return run


@pytest.fixture
def _clips(make_clip: Any, work: Path) -> None:  # noqa: ARG001
    make_clip(RAW / "ann/21.15-26.44.mp3", seed=1, rate_hz=44100, text="One.")
    make_clip(RAW / "ann/b.flac", seed=2, peak=0.01, text="\ufeffTwo {cough}\r\n")
    make_clip(RAW / "more/bob/c.wav", seed=3, seconds=1.3, rate_hz=8000, text="Zwei, ça va?")
    make_clip(RAW / "more/bob/short.wav", seed=4, seconds=0.15, text="Hm.")
    (RAW / "ATTRIBUTION.md").write_text("Thanks.")


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("_clips")
def test_the_tree_stays_and_every_clip_has_the_target_loudness(run: Any) -> None:
    summary = run()
    names = {"ann/21.15-26.44", "ann/b", "more/bob/c", "more/bob/short"}
    expected = {f"{name}{suffix}" for name in names for suffix in (".flac", ".lab")}
    assert tree(Path("normalized")) == expected
    for name in names:
        samples, rate_hz = soundfile.read(f"normalized/{name}.flac")
        assert samples.ndim == 1
        assert integrated_loudness_lufs(samples, rate_hz) == pytest.approx(-23, abs=0.05)
        assert np.abs(samples).max() <= 10 ** (-1 / 20) + 2**-23
    assert soundfile.info("normalized/more/bob/c.flac").samplerate == 8000
    assert soundfile.info("normalized/more/bob/c.flac").frames == 10400
    assert Path("normalized/more/bob/c.lab").read_bytes() == "Zwei, ça va?".encode()
    assert Path("normalized/ann/b.lab").read_text().startswith("Two")
    assert summary.startswith(
        "normalize: 4 clips of 2 speakers, 0.00 h of audio, 0.1 to 1.3 s a clip, "
        "0 under the target loudness for their peaks, 0 skipped, 0 unchanged, "
    )
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["num_clips"] == 4
    assert metrics["hours"] == pytest.approx(2.65 / 3600, abs=1e-4)
    assert Path("skipped.txt").read_text() == "normalize: 0 problems\n"


@pytest.mark.usefixtures("_clips")
def test_only_what_changed_is_made_again(run: Any, make_clip: Any) -> None:
    assert ", 0 unchanged" in run()
    first = {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()}
    metrics = Path("metrics.json").read_bytes()
    assert ", 4 unchanged" in run()
    assert {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()} == first
    assert Path("metrics.json").read_bytes() == metrics

    make_clip(RAW / "ann/new.wav", seed=5)
    assert "5 clips of 2 speakers" in (summary := run())
    assert ", 4 unchanged" in summary

    make_clip(RAW / "ann/b.flac", seed=6, text="Two.")
    assert ", 4 unchanged" in run()
    assert Path("normalized/ann/b.flac").read_bytes() != first[Path("normalized/ann/b.flac")]

    Path("raw/ann/b.lab").write_text("Three.")
    assert ", 5 unchanged" in run()
    assert Path("normalized/ann/b.lab").read_text() == "Three."

    assert ", 0 unchanged" in run(target_loudness_lufs=-20.0)
    assert ", 5 unchanged" in run()

    (RAW / "ann/new.wav").unlink()
    (RAW / "ann/new.lab").unlink()
    assert "4 clips" in run()
    assert "ann/new.flac" not in tree(Path("normalized"))


@pytest.mark.usefixtures("_clips")
def test_a_lost_cache_changes_no_byte(run: Any) -> None:
    run()
    first = {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()}
    shutil.rmtree(".fishdvc_cache")
    run()
    assert {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()} == first


def test_the_peak_ceiling_counts_more_than_the_target(run: Any, make_clip: Any) -> None:
    path = make_clip(RAW / "ann/click.wav", seconds=1, peak=0.01)
    make_clip(RAW / "ann/fine.wav", seconds=1, seed=1)
    samples, rate_hz = soundfile.read(path)
    samples[100] = 0.9
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    for unchanged in (0, 2):
        summary = run()
        assert f"1 under the target loudness for their peaks, 0 skipped, {unchanged} un" in summary
        found = np.abs(soundfile.read("normalized/ann/click.flac")[0]).max()
        assert found == pytest.approx(10 ** (-1 / 20), abs=2**-22)


@pytest.mark.usefixtures("_clips")
def test_processes_make_the_same_bytes(run: Any, make_clip: Any, shipped: Any) -> None:
    for i in range(30):
        make_clip(RAW / f"carl/{i}.wav", seed=i, seconds=0.05)
    run()
    first = {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()}
    shutil.rmtree(".fishdvc_cache")
    normalize(
        shipped("dataset", path="raw"),
        shipped("normalize", workers=2),
        normalized=Path("normalized"),
        skipped=Path("skipped.txt"),
        metrics=Path("metrics.json"),
    )
    assert {p: p.read_bytes() for p in Path("normalized").rglob("*") if p.is_file()} == first


@pytest.mark.usefixtures("_clips")
def test_bad_clips_fail_the_stage_all_at_once_or_are_skipped_into_a_report(run: Any) -> None:
    run()
    before = tree(Path("normalized"))
    (RAW / "ann/b.flac").write_bytes(b"fLaC")
    Path("raw/ann/b.lab").write_text(" ")
    Path("raw/more/bob/c.lab").write_bytes(b"\xff")
    (RAW / "more/bob/short.lab").unlink()
    with pytest.raises(DatasetError) as caught:
        run()
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "normalize: mend these, or set dataset.on_bad_clip: skip to leave them out (4 problems):"
    )
    starts = ["raw/more/bob/short.wav: no tr", "raw/ann/b.lab: empty tr", "raw/ann/b.flac: not re"]
    starts.append("raw/more/bob/c.lab: not UTF-8")
    for line, start in zip(lines[1:], starts, strict=True):
        assert line.strip().startswith(start)
    assert tree(Path("normalized")) == before
    assert Path("skipped.txt").read_text() == "normalize: 0 problems\n"

    summary = run(dataset={"on_bad_clip": "skip"})
    assert summary.startswith("normalize: 1 clips of 1 speakers, ")
    assert ", 3 skipped, 1 unchanged" in summary
    assert tree(Path("normalized")) == {"ann/21.15-26.44.flac", "ann/21.15-26.44.lab"}
    assert Path("skipped.txt").read_text().splitlines() == [
        "normalize: 4 problems",
        *(line.strip() for line in lines[1:]),
    ]
    assert json.loads(Path("metrics.json").read_text())["num_clips"] == 1


def test_with_nothing_left_skipping_fails_too(run: Any, make_clip: Any) -> None:
    make_clip(RAW / "ann/a.wav", text="")
    with pytest.raises(DatasetError, match=r"no clip is left(.|\n)*raw/ann/a\.lab: empty"):
        run(dataset={"on_bad_clip": "skip"})
    assert not Path("normalized").exists()


def test_transcripts_get_the_suffix_that_later_stages_look_for(run: Any, make_clip: Any) -> None:
    make_clip(RAW / "ann/a.wav", text="One.")
    (RAW / "ann/a.lab").rename(RAW / "ann/a.LAB")
    run()
    assert tree(Path("normalized")) == {"ann/a.flac", "ann/a.lab"}


def test_a_suffix_without_a_dot_is_refused(run: Any, make_clip: Any) -> None:
    make_clip(RAW / "ann/a.wav")
    with pytest.raises(DatasetError, match="text_extension: must begin with a dot, got 'lab'"):
        run(dataset={"text_extension": "lab"})


def test_one_clip_tells_whether_it_was_made_before(shipped: Any, make_clip: Any) -> None:
    audio = make_clip(RAW / "ann/a.wav", seconds=0.5)
    clip = Clip(name="ann/a", audio=audio, transcript=audio.with_suffix(".lab"))
    for code, from_cache in (("1", False), ("1", True), ("2", False)):
        result = normalize_clip(
            clip,
            folder=Path("out"),
            params=shipped("normalize"),
            text_extension=".lab",
            cache=FileCache(Path("cache")),
            code=code,
        )
        assert (result.duration_s, result.problems) == (0.5, ())
        assert result.from_cache is from_cache


@pytest.mark.usefixtures("_clips")
def test_ranks_make_the_same_bytes_and_one_list_of_problems(
    run: Any, make_clip: Any, shipped: Any, run_script: Any
) -> None:
    for i in range(4):
        make_clip(RAW / f"carl/{i}.wav", seed=i, seconds=0.2)
        (RAW / f"carl/{i}.lab").write_text("" if i % 2 else "Hm.")
    (RAW / "ann/b.flac").write_bytes(b"fLaC")
    (RAW / "more/bob/short.lab").unlink()
    made = ("normalized", "skipped.txt", "metrics.json")
    summary = run(dataset={"on_bad_clip": "skip"}).rsplit(",", 1)[0]
    assert ", 4 skipped, 0 unchanged" in summary
    assert len(Path("skipped.txt").read_text().splitlines()) == 5
    for name in made:
        Path(name).rename(f"alone_{name}")
    shutil.rmtree(".fishdvc_cache")

    done = run_script(
        "normalize",
        {
            "dataset": shipped("dataset", path="raw", on_bad_clip="skip"),
            "normalize": shipped("normalize", workers=1, devices=2),
        },
        dict(zip(("normalized", "skipped", "metrics"), made, strict=True)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rsplit(",", 1)[0] == summary
    for name in made[1:]:
        assert Path(name).read_bytes() == Path(f"alone_{name}").read_bytes()
    assert tree(Path("normalized")) == tree(Path("alone_normalized"))
    for name in tree(Path("normalized")):
        assert Path("normalized", name).read_bytes() == Path("alone_normalized", name).read_bytes()
