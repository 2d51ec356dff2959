"""extract_vq: the codes a clip gets alone, kept from run to run."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from safetensors.torch import load_file

import fishdvc.pipeline.extract_vq as stage
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.errors import AudioError, CheckpointError, DatasetError
from fishdvc.pipeline.extract_vq import extract_vq

CLIPS = {"ann/a": 0.6, "ann/1.5-2.5": 0.11, "x/bob/b": 1.1, "x/bob/c": 0.61}


@pytest.fixture(scope="module")
def codec(assets: Path) -> Codec:
    return load_codec(assets / "codec/generator.pth", assets / "codec/config.json")


@pytest.fixture
def run(shipped: Any, base_folder: Path) -> Any:
    def run(*, on_bad_clip: str = "fail", checkpoint: Path | None = None, **changes: Any) -> str:
        return extract_vq(
            shipped("extract_vq", **{"device": "cpu", **changes}),
            codec_checkpoint=checkpoint or next(base_folder.glob("firefly*.pth")),
            normalized=Path("normalized"),
            on_bad_clip=on_bad_clip,  # type: ignore[arg-type]
            codes=Path("codes"),
            skipped=Path("skipped.txt"),
            metrics=Path("metrics.json"),
        )

    return run


@pytest.fixture
def _clips(make_clip: Any) -> None:
    for i, (name, seconds) in enumerate(CLIPS.items()):
        rate_hz = (44100, 22050, 8000)[i % 3]
        make_clip(Path(f"normalized/{name}.flac"), seconds=seconds, rate_hz=rate_hz, seed=i)


def codes_alone(codec: Codec, path: Path) -> np.ndarray:
    recorded = read_waveform(path)
    audio = torchaudio.functional.resample(
        torch.from_numpy(recorded.samples), recorded.sample_rate_hz, 44100
    )
    codes, num_frames = codec.encode(audio[None], torch.tensor([len(audio)]))
    return codes[0, :, : int(num_frames[0])].numpy()


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("_clips")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_clip_has_the_codes_it_has_alone(workers: int, run: Any, codec: Codec) -> None:
    run(workers=workers)
    assert tree(Path("codes")) == {f"{name}.npy" for name in CLIPS}
    for name, seconds in CLIPS.items():
        codes = np.load(f"codes/{name}.npy")
        assert codes.dtype == np.uint16
        assert codes.shape == (8, int(seconds * 44100) // 512 // 4)
        np.testing.assert_array_equal(codes, codes_alone(codec, Path(f"normalized/{name}.flac")))


def test_golden_clips_have_the_golden_codes(run: Any, assets: Path) -> None:
    golden = load_file(assets / "codec/io.safetensors")
    Path("normalized/ann").mkdir(parents=True)
    numbers = [key.split(".")[1] for key in golden if key.startswith("audio.")]
    for i in numbers:
        audio = golden[f"audio.{i}"].flatten().numpy()
        # Codes hang on the last bit: 16-bit recordings fit FLAC's 24 bits exactly.
        soundfile.write(f"normalized/ann/{i}.flac", audio, 44100, subtype="PCM_24")
    run()
    assert len(numbers) == 3
    for i in numbers:
        expected = golden[f"codes.{i}"].squeeze(0).numpy()
        np.testing.assert_array_equal(np.load(f"codes/ann/{i}.npy"), expected)


@pytest.mark.usefixtures("_clips")
def test_only_new_clips_are_encoded(
    run: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base_folder: Path
) -> None:
    summary = run()
    assert summary.startswith("extract_vq: 4 clips, ")
    assert "0 skipped, 0 unchanged" in summary
    first = {p: p.read_bytes() for p in Path("codes").rglob("*.npy")}
    metrics = Path("metrics.json").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(stage, "load_codec", None)
        assert "0 skipped, 4 unchanged" in run()
    assert {p: p.read_bytes() for p in Path("codes").rglob("*.npy")} == first
    assert Path("metrics.json").read_bytes() == metrics

    make_clip(Path("normalized/ann/new.flac"), seed=9)
    assert "5 clips" in (summary := run())
    assert "0 skipped, 4 unchanged" in summary

    make_clip(Path("normalized/ann/a.flac"), seed=10)
    assert "0 skipped, 4 unchanged" in run()
    assert Path("codes/ann/a.npy").read_bytes() != first[Path("codes/ann/a.npy")]

    Path("normalized/ann/new.flac").unlink()
    run()
    assert tree(Path("codes")) == {f"{name}.npy" for name in CLIPS}

    content = torch.load(next(base_folder.glob("firefly*.pth")), weights_only=True)
    other = tmp_path / "other.pth"
    content["quantizer.residual_fsq.rvqs.0.project_in.bias"] += 0.1
    torch.save(content, other)
    config = str(next(base_folder.glob("firefly*.json")))
    assert "0 skipped, 0 unchanged" in run(checkpoint=other, codec_config=config)


@pytest.mark.usefixtures("_clips")
def test_figures_tell_how_much_of_the_codebooks_is_used(run: Any) -> None:
    run()
    codes = np.concatenate([np.load(p) for p in Path("codes").rglob("*.npy")], axis=1)
    entropies = []
    for row in codes:
        _, counts = np.unique(row, return_counts=True)
        shares = counts / counts.sum()
        entropies.append(-(shares * np.log2(shares)).sum())
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["num_frames"] == codes.shape[1]
    assert metrics["mean_codebook_entropy_bits"] == pytest.approx(np.mean(entropies), abs=1e-3)


@pytest.mark.usefixtures("_clips")
@pytest.mark.parametrize(("rate_hz", "num_samples"), [(44100, 2047), (22050, 1023), (8000, 371)])
def test_clips_too_short_for_a_frame_are_named_or_skipped(
    rate_hz: int, num_samples: int, run: Any, make_clip: Any
) -> None:
    make_clip(Path("normalized/ann/hm.flac"), rate_hz=rate_hz, seconds=num_samples / rate_hz)
    with pytest.raises(DatasetError) as caught:
        run()
    assert "normalized/ann/hm.flac: 0.046 s is too short to make a frame" in str(caught.value)
    assert "(1 problem)" in str(caught.value)
    assert not Path("codes").exists()
    assert "4 clips" in (summary := run(on_bad_clip="skip"))
    assert "1 skipped, 4 unchanged" in summary
    assert tree(Path("codes")) == {f"{name}.npy" for name in CLIPS}
    assert "normalized/ann/hm.flac" in Path("skipped.txt").read_text()
    assert json.loads(Path("metrics.json").read_text())["num_skipped"] == 1
    assert "1 skipped, 4 unchanged" in run(on_bad_clip="skip")


@pytest.mark.parametrize(("rate_hz", "num_samples"), [(44100, 2048), (22050, 1024), (8000, 372)])
def test_the_shortest_clip_has_one_frame(
    rate_hz: int, num_samples: int, run: Any, make_clip: Any
) -> None:
    make_clip(Path("normalized/ann/hm.flac"), rate_hz=rate_hz, seconds=num_samples / rate_hz)
    run()
    assert np.load("codes/ann/hm.npy").shape == (8, 1)


@pytest.mark.usefixtures("_clips")
def test_a_damaged_clip_is_named(run: Any) -> None:
    Path("normalized/ann/a.flac").write_bytes(b"fLaC")
    with pytest.raises(AudioError, match=r"ann/a\.flac: not readable .* normalize again"):
        run()
    assert not Path("codes").exists()


@pytest.mark.usefixtures("_clips")
def test_a_missing_codec_is_named(run: Any) -> None:
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file; mend codec_checkpoint in"):
        run(checkpoint=Path("no.pth"))
    with pytest.raises(CheckpointError, match=r"no\.json: no such file; mend codec_config in"):
        run(codec_config="no.json")
    Path("cut.pth").write_bytes(b"PK\3\4")
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        run(checkpoint=Path("cut.pth"))
    assert not Path("codes").exists()


def test_no_clip_at_all_is_no_success(run: Any) -> None:
    Path("normalized").mkdir()
    with pytest.raises(DatasetError, match="no clip is left"):
        run()


@pytest.fixture
def run_ranks(shipped: Any, base_folder: Path, run_script: Any) -> Any:
    def run(prelude: str = "") -> Any:
        for path in base_folder.iterdir():
            Path("base").mkdir(exist_ok=True)
            shutil.copyfile(path, Path("base", path.name))
        paths = {name: name for name in ("base", "normalized", "codes")}
        return run_script(
            "extract_vq",
            {
                "dataset": shipped("dataset", on_bad_clip="skip"),
                "base": shipped("base"),
                "extract_vq": shipped("extract_vq", device="cpu", workers=1, devices=2),
            },
            {**paths, "skipped": "skipped.txt", "metrics": "metrics.json"},
            prelude=prelude,
        )

    return run


@pytest.mark.usefixtures("_clips")
def test_ranks_make_the_same_bytes_each_its_own_clips(
    run: Any, run_ranks: Any, make_clip: Any
) -> None:
    make_clip(Path("normalized/ann/hm.flac"), rate_hz=44100, seconds=0.01)
    summary = run(on_bad_clip="skip").rsplit(",", 1)[0]
    for name in ("codes", "skipped.txt", "metrics.json"):
        Path(name).rename(f"alone_{name}")
    shutil.rmtree(".fishdvc_cache")
    done = run_ranks(
        "import os, fishdvc.pipeline.extract_vq as stage\n"
        "plain = stage._encode_clip\n"
        "def noted(job, *, codec):\n"
        "    with open('who.txt', 'a') as file:\n"
        "        file.write(os.environ['LOCAL_RANK'] + ' ' + job.name + '\\n')\n"
        "    return plain(job, codec=codec)\n"
        "stage._encode_clip = noted\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rsplit(",", 1)[0] == summary
    assert "1 skipped, 0 unchanged" in summary
    for name in ("skipped.txt", "metrics.json"):
        assert Path(name).read_bytes() == Path(f"alone_{name}").read_bytes()
    assert tree(Path("codes")) == {f"{name}.npy" for name in CLIPS}
    for name in CLIPS:
        alone = Path(f"alone_codes/{name}.npy")
        assert Path(f"codes/{name}.npy").read_bytes() == alone.read_bytes()
    # By length: 1.1 s against 0.61 s and 0.6 s and 0.11 s.
    assert sorted(Path("who.txt").read_text().splitlines()) == [
        "0 ann/1.5-2.5",
        "0 x/bob/b",
        "1 ann/a",
        "1 x/bob/c",
    ]


@pytest.mark.usefixtures("_clips")
def test_a_rank_that_dies_fails_the_stage_and_what_was_there_stays(
    run: Any, run_ranks: Any
) -> None:
    run()
    before = {p: p.read_bytes() for p in Path("codes").rglob("*.npy")}
    shutil.rmtree(".fishdvc_cache")
    done = run_ranks(
        "import os, fishdvc.pipeline.extract_vq as stage\n"
        "if os.environ.get('LOCAL_RANK') == '1':\n"
        "    stage._encode_clip = lambda *_, **__: os.kill(os.getpid(), 9)\n"
    )
    assert done.returncode == 1
    assert "error: extract_vq: process 1 of 2 died: signal 9 (SIGKILL)" in done.stderr
    assert {p: p.read_bytes() for p in Path("codes").rglob("*.npy")} == before
    assert not Path(".codes.partial").exists()


def test_auto_devices_are_the_gpus_that_the_codec_may_use(
    shipped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(**changes: Any) -> int:
        return stage._num_devices(shipped("extract_vq", **{"devices": "auto", **changes}))

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert count() == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    assert count() == 8
    assert count(device="cuda") == 8
    assert count(device="cpu") == 1
    assert count(devices=2) == 2
