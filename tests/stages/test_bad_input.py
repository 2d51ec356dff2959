"""Bad input: one readable report that names every file and what to do, and nothing half-written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import soundfile

RAW = Path("data/raw")


def test_a_folder_that_is_not_there(project: Any) -> None:
    project.set({"dataset": {"path": "data/my-voice"}})
    message = project.fail("normalize")
    assert "data/my-voice: no such folder; set dataset.path to your folder of speakers" in message


def test_a_folder_without_data(project: Any) -> None:
    shutil.rmtree(RAW)
    RAW.mkdir()
    message = project.fail("normalize")
    assert "data/raw: no clips; put <speaker>/<clip>.wav (or .flac, .mp3) with" in message


def test_audio_without_transcript_and_the_reverse(project: Any) -> None:
    (RAW / "ann/0.5.lab").unlink()
    (RAW / "bob/1.wav").unlink()
    message = project.fail("normalize")
    assert "(2 problems)" in message
    assert "data/raw/ann/0.5.wav: no transcript 0.5.lab beside it; add it or remove" in message
    assert "data/raw/bob/1.lab: no audio beside it; add it or remove the transcript" in message


def test_transcripts_that_are_empty_or_not_utf_8(project: Any) -> None:
    (RAW / "ann/0.5.lab").write_text(" \n")
    (RAW / "ann/1.5.lab").write_text("{noise}")
    (RAW / "ann/2.5.lab").write_bytes("Grüße".encode("latin-1"))
    (RAW / "ann/3.5.lab").write_bytes(b"\xef\xbb\xbf" + "Grüße".encode())
    message = project.fail("normalize")
    assert "(3 problems)" in message
    assert "data/raw/ann/0.5.lab: empty transcript; write what is said" in message
    assert "data/raw/ann/1.5.lab: empty transcript" in message
    assert "data/raw/ann/2.5.lab: not UTF-8 (byte 2); save it as UTF-8" in message


def test_audio_that_cannot_be_used(project: Any) -> None:
    rate_hz = 16000
    (RAW / "ann/0.5.wav").write_bytes(b"")
    content = (RAW / "ann/1.5.flac").read_bytes()
    (RAW / "ann/1.5.flac").write_bytes(content[: len(content) // 2])
    content = (RAW / "ann/2.5.mp3").read_bytes()
    (RAW / "ann/2.5.mp3").write_bytes(content[: len(content) // 2])
    soundfile.write(RAW / "ann/3.5.wav", np.zeros(0, np.float32), rate_hz)
    samples = np.full(rate_hz, 0.1, np.float32)
    samples[3:5] = np.nan
    soundfile.write(RAW / "bob/0.wav", samples, rate_hz, subtype="FLOAT")
    soundfile.write(RAW / "bob/1.wav", np.zeros(rate_hz, np.float32), rate_hz)
    message = project.fail("normalize")
    assert "(6 problems)" in message
    assert "data/raw/ann/0.5.wav: not readable as audio" in message
    assert "data/raw/ann/1.5.flac: truncated" in message or "1.5.flac: not readable" in message
    assert "data/raw/ann/2.5.mp3: truncated" in message
    assert "data/raw/ann/3.5.wav: holds no sample; record it again, or remove it" in message
    assert "data/raw/bob/0.wav: 2 samples are NaN or infinite; export it again" in message
    assert "data/raw/bob/1.wav: silence: its peak is -inf dBFS, under -60; record" in message


def test_two_files_that_differ_only_in_their_suffix(project: Any) -> None:
    shutil.copyfile(RAW / "bob/0.wav", RAW / "bob/0.flac")
    message = project.fail("normalize")
    assert "data/raw/bob: 0.flac and 0.wav differ only in their suffix; keep one" in message


def test_of_many_bad_clips_20_are_listed_and_all_are_counted(project: Any) -> None:
    project.run("normalize")
    for i in range(24):
        (RAW / f"bob/bad{i:02}.wav").write_bytes(b"RIFF")
        (RAW / f"bob/bad{i:02}.lab").write_text("Hm.")
    lines = project.fail("normalize").splitlines()
    assert "(24 problems)" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:21]] == [
        f"data/raw/bob/bad{i:02}.wav" for i in range(20)
    ]
    assert lines[21:] == ["  ... and 4 more"]


def test_clips_may_be_skipped_into_a_report(project: Any) -> None:
    (RAW / "ann/0.5.wav").write_bytes(b"RIFF")
    (RAW / "bob/0.lab").unlink()
    project.set({"dataset": {"on_bad_clip": "skip"}})
    assert "normalize: 6 clips of 2 speakers" in project.run("fetch_base", "normalize")
    report = Path("data/reports/normalize_skipped.txt").read_text()
    assert report.startswith("normalize: 2 problems\n")
    assert "data/raw/ann/0.5.wav: not readable" in report
    assert "data/raw/bob/0.wav: no transcript" in report
    assert "extract_vq: 6 clips" in project.run("extract_vq")
    assert Path("data/reports/extract_vq_skipped.txt").read_text() == "extract_vq: 0 problems\n"


def test_codes_of_a_wrong_shape_or_range(project: Any) -> None:
    project.run("fetch_base", "normalize", "extract_vq")
    np.save("data/codes/ann/0.5.npy", np.zeros((7, 5), np.uint16))
    np.save("data/codes/ann/1.5.npy", np.full((8, 5), 1024, np.uint16))
    np.save("data/codes/ann/2.5.npy", np.zeros((8, 5), np.float32))
    message = project.fail("build_protos")
    assert "(3 problems)" in message
    assert "data/codes/ann/0.5.npy: codes must have the shape (8, frames), got (7, 5)" in message
    assert "data/codes/ann/1.5.npy: codes must lie in 0..1023, got 1024..1024" in message
    assert "data/codes/ann/2.5.npy: codes must be whole numbers, got float32" in message
    assert "then run extract_vq again" in message


def test_a_truncated_shard(project: Any) -> None:
    project.run("fetch_base", "normalize", "extract_vq", "build_protos")
    shard = Path("data/protos/train/00000000.protos")
    shard.write_bytes(shard.read_bytes()[:-3])
    message = project.fail("train_lora")
    assert "data/protos/train/00000000.protos: byte" in message
    assert "build the shards anew" in message


@pytest.mark.parametrize("stage", ["fetch_base", "normalize", "extract_vq", "train_lora", "merge"])
def test_parameters_unknown_mistyped_and_out_of_range(stage: str, project: Any) -> None:
    section = "base" if stage == "fetch_base" else stage
    key = {
        "fetch_base": "source",
        "normalize": "target_loudness_lufs",
        "extract_vq": "workers",
        "train_lora": "learning_rate",
        "merge": "tolerance",
    }[stage]
    project.set({section: {key: [], f"{key}s": 1}})
    message = project.fail(stage)
    assert f"params.yaml: {section}: mend these parameters (2 problems)" in message
    assert f"  {key}s: unknown parameter; did you mean '{key}'?" in message
    assert f"  {key}: must be a" in message


def test_a_base_folder_that_lacks_files(project: Any) -> None:
    shutil.copytree("base", "my-base")
    project.set({"base": {"source": "my-base"}})
    project.run("fetch_base")
    Path("my-base/model.pth").unlink()
    Path("my-base/special_tokens.json").unlink()
    message = project.fail("fetch_base")
    assert "(2 problems)" in message
    assert "my-base/model.pth: no such file" in message
    assert "my-base/special_tokens.json: no such file" in message


def test_a_base_folder_that_is_not_there(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    project.set({"base": {"source": "my-bass"}})
    assert "my-bass/config.json: not in the cache" in project.fail("fetch_base")
    project.set({"base": {"source": "data/my/bass"}})
    assert "'data/my/bass' is neither a folder here nor the name" in project.fail("fetch_base")


@pytest.mark.parametrize("stage", ["extract_vq", "build_protos", "train_lora", "merge"])
def test_later_stages_name_what_the_base_lacks(stage: str, project: Any) -> None:
    project.run("fetch_base", "normalize", "extract_vq", "build_protos", "train_lora", "merge")
    for path in Path("data/base").iterdir():
        path.unlink()
    message = project.fail(stage)
    assert "data/base/" in message
    assert "again" in message or "expected" in message


def test_clips_under_a_gating_block_work(project: Any, make_clip: Any) -> None:
    make_clip(RAW / "bob/hm.wav", seconds=0.06, text="Hm.")
    make_clip(RAW / "bob/oh.flac", seconds=0.39, rate_hz=44100, text="Oh.")
    project.run("fetch_base", "normalize", "extract_vq", "build_protos")
    assert np.load("data/codes/bob/hm.npy").shape == (8, 1)
    assert np.load("data/codes/bob/oh.npy").shape == (8, 8)


def test_as_a_program_it_ends_with_code_1_and_a_report_on_stderr(project: Any, top: Path) -> None:
    for i in range(3):
        (RAW / f"ann/{i}.5.lab").write_text("")
    command = [sys.executable, *project.commands["normalize"][1:]]
    environment = {**os.environ, "PYTHONPATH": str(top)}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: normalize: mend these, or set dataset.on_bad_clip")
    assert len(result.stderr.splitlines()) == 4
    assert not Path("data/normalized").exists()
