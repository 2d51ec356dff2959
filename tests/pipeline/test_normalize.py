"""Stage normalize: loudness, the cache and bad clips."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import fishdvc.pipeline.normalize as stage
from fishdvc.audio.loudness import integrated_loudness_lufs
from fishdvc.errors import DatasetError, FishdvcError
from fishdvc.storage.manifest import MANIFEST, manifest_problem

RAW = Path("raw")
NOTES = (
    "normalize: notes: 1\n"
    "raw/ATTRIBUTION.md: not used, because it is neither audio nor a .lab file\n"
)
NAMES = {"ann/21.15-26.44", "ann/b", "more/bob/c", "more/bob/short"}


@pytest.fixture
def run(shipped: Any) -> Any:
    def run(*, on_bad_clip: str = "fail", workers: int = 1, **changes: Any) -> str:
        return stage.normalize(
            shipped("dataset", path="raw", on_bad_clip=on_bad_clip),
            shipped("normalize", **changes),
            workers=workers,
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


@pytest.mark.usefixtures("_clips")
def test_clips_get_the_target_loudness_and_keep_their_paths(run: Any, contents: Any) -> None:
    summary = run()
    names = {f"{name}{suffix}" for name in NAMES for suffix in (".flac", ".lab")}
    assert contents("normalized").keys() == {*names, MANIFEST}
    assert json.loads(Path("normalized", MANIFEST).read_text()).keys() == names
    assert manifest_problem(Path("normalized", MANIFEST), Path("normalized")) is None
    for name in NAMES:
        samples, rate_hz = soundfile.read(f"normalized/{name}.flac")
        assert samples.ndim == 1
        assert integrated_loudness_lufs(samples, rate_hz) == pytest.approx(-23, abs=0.05)
        assert np.abs(samples).max() <= 10 ** (-1 / 20) + 2**-23
    assert soundfile.info("normalized/more/bob/c.flac").samplerate == 8000
    assert soundfile.info("normalized/more/bob/c.flac").frames == 10400
    assert Path("normalized/more/bob/c.lab").read_bytes() == "Zwei, ça va?".encode()
    assert Path("normalized/ann/b.lab").read_text().startswith("Two")
    assert summary.startswith(
        "normalize: 4 clips of 2 speakers, 3 s of audio, 0.1 to 1.3 s a clip, "
        "0 under the target loudness for their peaks, 0 skipped, 0 unchanged, "
    )
    assert ", 1 note in skipped.txt, " in summary
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["num_clips"] == 4
    assert metrics["hours"] == pytest.approx(2.65 / 3600, abs=1e-4)
    assert Path("skipped.txt").read_text() == f"normalize: problems: 0\n{NOTES}"


@pytest.mark.usefixtures("_clips")
def test_only_changed_clips_are_processed_again(
    run: Any, make_clip: Any, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    first = contents("normalized")
    metrics = Path("metrics.json").read_bytes()
    assert ", 4 unchanged" in run()
    assert contents("normalized") == first
    assert Path("metrics.json").read_bytes() == metrics

    make_clip(RAW / "ann/new.wav", seed=5)
    assert "5 clips of 2 speakers" in (summary := run())
    assert ", 4 unchanged" in summary

    make_clip(RAW / "ann/b.flac", seed=6, text="Two.")
    assert ", 4 unchanged" in run()
    assert contents("normalized")["ann/b.flac"] != first["ann/b.flac"]

    Path("raw/ann/b.lab").write_text("Three.")
    assert ", 5 unchanged" in run()
    assert Path("normalized/ann/b.lab").read_text() == "Three."

    assert ", 0 unchanged" in run(target_loudness_lufs=-20.0)
    assert ", 5 unchanged" in run()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "CODE", (__file__,))
        assert ", 0 unchanged" in run()

    (RAW / "ann/new.wav").unlink()
    (RAW / "ann/new.lab").unlink()
    assert "4 clips" in run()
    assert "ann/new.flac" not in contents("normalized")


@pytest.mark.usefixtures("_clips")
def test_a_run_without_cache_in_two_processes_writes_the_same_bytes(
    run: Any, make_clip: Any, contents: Any
) -> None:
    for i in range(30):
        make_clip(RAW / f"carl/{i}.wav", seed=i, seconds=0.05)
    run()
    first = contents("normalized")
    shutil.rmtree(".fishdvc_cache")
    assert ", 0 unchanged" in run(workers=2)
    assert contents("normalized") == first


def test_the_peak_ceiling_limits_the_loudness(run: Any, make_clip: Any) -> None:
    path = make_clip(RAW / "ann/click.wav", seconds=1, peak=0.01)
    make_clip(RAW / "ann/fine.wav", seconds=1, seed=1)
    samples, rate_hz = soundfile.read(path)
    samples[100] = 0.9
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    for unchanged in (0, 2):
        summary = run()
        assert f"1 under the target loudness for their peaks, 0 skipped, {unchanged} un" in summary
        peak = np.abs(soundfile.read("normalized/ann/click.flac")[0]).max()
        assert peak == pytest.approx(10 ** (-1 / 20), abs=2**-22)


@pytest.mark.usefixtures("_clips")
def test_all_bad_clips_are_listed_in_the_error_or_in_the_report(run: Any, contents: Any) -> None:
    run()
    before = contents("normalized")
    (RAW / "ann/b.flac").write_bytes(b"fLaC")
    Path("raw/ann/b.lab").write_text(" ")
    Path("raw/more/bob/c.lab").write_bytes(b"\xff")
    (RAW / "more/bob/short.lab").unlink()
    with pytest.raises(DatasetError) as caught:
        run()
    summary, *lines = str(caught.value).splitlines()
    assert summary.endswith("on_bad_clip: skip to leave them out (4 problems):")
    starts = ["raw/more/bob/short.wav: no tr", "raw/ann/b.lab: empty tr", "raw/ann/b.flac: not re"]
    starts.append("raw/more/bob/c.lab: not UTF-8")
    for line, start in zip(lines, starts, strict=True):
        assert line.strip().startswith(start)
    assert contents("normalized") == before
    assert Path("skipped.txt").read_text() == f"normalize: problems: 0\n{NOTES}"

    summary = run(on_bad_clip="skip")
    assert summary.startswith("normalize: 1 clip of 1 speaker, ")
    assert ", 3 skipped, 1 unchanged" in summary
    assert contents("normalized").keys() == {
        "ann/21.15-26.44.flac",
        "ann/21.15-26.44.lab",
        MANIFEST,
    }
    assert Path("skipped.txt").read_text().splitlines() == [
        "normalize: problems: 4",
        *(line.strip() for line in lines),
        *NOTES.splitlines(),
    ]
    assert json.loads(Path("metrics.json").read_text())["num_clips"] == 1


def test_skipping_all_clips_is_an_error(run: Any, make_clip: Any) -> None:
    make_clip(RAW / "ann/a.wav", text="")
    with pytest.raises(DatasetError, match=r"no clip is left(.|\n)*raw/ann/a\.lab: empty"):
        run(on_bad_clip="skip")
    assert not Path("normalized").exists()


def test_transcripts_are_written_with_the_suffix_of_the_params(
    run: Any, make_clip: Any, contents: Any
) -> None:
    make_clip(RAW / "ann/a.wav", text="One.")
    (RAW / "ann/a.lab").rename(RAW / "ann/a.LAB")
    run()
    assert contents("normalized").keys() == {"ann/a.flac", "ann/a.lab", MANIFEST}


@pytest.mark.parametrize("suffix", [".flac", ".MP3", ".my.wma"])
def test_the_suffix_of_audio_for_transcripts_is_an_error(suffix: str, shipped: Any) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.text_extension: expected a suffix of tran"):
        stage.normalize(
            shipped("dataset", text_extension=suffix),
            shipped("normalize"),
            workers=1,
            normalized=Path("normalized"),
            skipped=Path("skipped.txt"),
            metrics=Path("metrics.json"),
        )


def test_clips_that_are_too_short_or_unreadable_are_in_the_same_list(
    run: Any, make_clip: Any
) -> None:
    make_clip(RAW / "ann/a.wav", seconds=0.05)
    make_clip(RAW / "ann/b.wav", seconds=0.046)
    make_clip(RAW / "ann/d.mp3", rate_hz=44100)
    Path("raw/ann/d.mp3").write_bytes(b"no sound")
    with pytest.raises(DatasetError) as caught:
        run()
    message = str(caught.value)
    assert "raw/ann/b.wav: 0.046 s, shorter than normalize.min_duration_s (0.05)" in message
    assert "raw/ann/d.mp3: not readable as audio" in message
    assert run(on_bad_clip="skip").startswith("normalize: 1 clip of 1 speaker, ")
    with pytest.raises(
        DatasetError, match=r"a\.wav: 0\.050 s, shorter .* \(9\); remove the clip, or"
    ):
        run(min_duration_s=9)


def test_a_clip_that_cannot_be_read_is_one_line(
    run: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        make_clip(RAW / f"ann/{name}.wav")
    content_hash = stage.content_hash

    def fail_for_a(path: Path) -> str:
        if path.name == "a.wav":
            raise PermissionError(13, "Permission denied")
        return content_hash(path)

    monkeypatch.setattr(stage, "content_hash", fail_for_a)
    with pytest.raises(DatasetError, match=r"raw/ann/a\.wav: cannot be read \(Permission denied\)"):
        run()
    assert run(on_bad_clip="skip").startswith("normalize: 1 clip of 1 speaker, ")


def test_a_full_disk_stops_the_stage_even_if_bad_clips_are_skipped(
    run: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(RAW / "ann/a.wav")

    def fail(path: Path, _: object) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FishdvcError, match="No space left on device"):
        run(on_bad_clip="skip")
    assert not any(Path(".fishdvc_cache").rglob("*.*"))
