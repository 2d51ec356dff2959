"""Stage extract_vq: codes, the cache and clips that are too short."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

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
from fishdvc.errors import AudioError, CheckpointError, DatasetError, ParamsError
from fishdvc.pipeline.extract_vq import extract_vq
from fishdvc.storage.manifest import MANIFEST, manifest_problem

CLIPS = {"ann/a": 0.6, "ann/1.5-2.5": 0.11, "x/bob/b": 1.1, "x/bob/c": 0.61}
CODES = {f"{name}.npy" for name in CLIPS} | {MANIFEST}


@pytest.fixture(scope="module")
def codec(assets: Path) -> Codec:
    return load_codec(assets / "codec/generator.pth", assets / "codec/config.json")


@pytest.fixture
def run(shipped: Any, base_folder: Path) -> Any:
    def run(
        *,
        on_bad_clip: str = "fail",
        checkpoint: Path | None = None,
        codec_config: str | None = None,
        workers: int = 1,
    ) -> str:
        checkpoint = checkpoint or next(base_folder.glob("firefly*.pth"))
        return extract_vq(
            shipped("base", codec_checkpoint=checkpoint.name),
            shipped("dataset", on_bad_clip=on_bad_clip),
            shipped("extract_vq", codec_config=codec_config),
            shipped("machine", accelerator="cpu", workers=workers),
            base=checkpoint.parent,
            normalized=Path("normalized"),
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


@pytest.mark.usefixtures("_clips")
def test_the_codes_of_a_clip_do_not_depend_on_other_clips(
    run: Any, codec: Codec, contents: Any
) -> None:
    run(workers=3)
    assert contents("codes").keys() == CODES
    assert json.loads(Path("codes", MANIFEST).read_text()).keys() == CODES - {MANIFEST}
    assert manifest_problem(Path("codes", MANIFEST), Path("codes")) is None
    for name, seconds in CLIPS.items():
        codes = np.load(f"codes/{name}.npy")
        assert codes.dtype == np.uint16
        assert codes.shape == (8, int(seconds * 44100) // 512 // 4)
        np.testing.assert_array_equal(codes, codes_alone(codec, Path(f"normalized/{name}.flac")))


@pytest.mark.usefixtures("_clips")
def test_codes_of_padded_batches_equal_those_of_clips_alone(
    run: Any, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: codes_alone(codec, Path(f"normalized/{name}.flac")) for name in CLIPS}
    # Compute on the CPU as on other devices.
    monkeypatch.setattr("fishdvc.codec.layers.on_cpu", lambda _: False)
    run(workers=3)
    for name, codes in expected.items():
        np.testing.assert_array_equal(np.load(f"codes/{name}.npy"), codes)


def test_golden_clips_have_the_golden_codes(run: Any, assets: Path) -> None:
    golden = load_file(assets / "codec/io.safetensors")
    Path("normalized/ann").mkdir(parents=True)
    numbers = [key.split(".")[1] for key in golden if key.startswith("audio.")]
    for i in numbers:
        audio = golden[f"audio.{i}"].flatten().numpy()
        # The samples have 16 bits, so that 24-bit FLAC holds them exactly.
        soundfile.write(f"normalized/ann/{i}.flac", audio, 44100, subtype="PCM_24")
    run()
    assert len(numbers) == 3
    for i in numbers:
        expected = golden[f"codes.{i}"].squeeze(0).numpy()
        np.testing.assert_array_equal(np.load(f"codes/ann/{i}.npy"), expected)


@pytest.mark.usefixtures("_clips")
def test_only_new_clips_are_encoded(
    run: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    summary = run()
    assert summary.startswith("extract_vq: 4 clips, ")
    assert "0 skipped, 0 unchanged" in summary
    first = contents("codes")
    metrics = Path("metrics.json").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(stage, "load_codec", None)
        assert "0 skipped, 4 unchanged" in run()
    assert contents("codes") == first
    assert Path("metrics.json").read_bytes() == metrics

    make_clip(Path("normalized/ann/new.flac"), seed=9)
    make_clip(Path("normalized/ann/a.flac"), seed=10)
    assert "5 clips" in (summary := run())
    assert "0 skipped, 3 unchanged" in summary
    assert contents("codes")["ann/a.npy"] != first["ann/a.npy"]

    Path("normalized/ann/new.flac").unlink()
    run()
    assert contents("codes").keys() == CODES


@pytest.mark.usefixtures("_clips")
def test_another_codec_encodes_all_clips_again(run: Any, base_folder: Path) -> None:
    run()
    weights = torch.load(next(base_folder.glob("firefly*.pth")), weights_only=True)
    weights["quantizer.residual_fsq.rvqs.0.project_in.bias"] += 0.1
    torch.save(weights, "other.pth")
    own_config = Path("data/external/extract_vq/own.json")
    own_config.parent.mkdir(parents=True)
    shutil.copyfile(next(base_folder.glob("firefly*.json")), own_config)
    other = {"checkpoint": Path("other.pth"), "codec_config": str(own_config)}
    assert "0 skipped, 0 unchanged" in run(**other)
    assert "0 skipped, 4 unchanged" in run(**other)
    own_config.write_text(own_config.read_text() + "\n")
    assert "0 skipped, 0 unchanged" in run(**other)


@pytest.mark.usefixtures("_clips")
def test_codes_of_another_device_are_not_used(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    codec_loaded = Mock(side_effect=CheckpointError("loaded"))
    monkeypatch.setattr(stage, "load_codec", codec_loaded)
    assert "4 unchanged" in run()
    monkeypatch.setattr(stage, "choose_device", lambda _: torch.device("meta"))
    with pytest.raises(CheckpointError, match="loaded"):
        run()
    assert codec_loaded.call_count == 1


@pytest.mark.usefixtures("_clips")
def test_metrics_contain_the_entropy_of_the_codebooks(run: Any) -> None:
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
@pytest.mark.parametrize(("rate_hz", "num_samples"), [(44100, 2047), (8000, 371)])
def test_clips_shorter_than_a_frame_are_listed_before_anything_is_encoded_or_in_the_report(
    rate_hz: int,
    num_samples: int,
    run: Any,
    make_clip: Any,
    contents: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("hm", "oh"):
        path = Path(f"normalized/ann/{name}.flac")
        make_clip(path, rate_hz=rate_hz, seconds=num_samples / rate_hz)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "load_codec", None)
        with pytest.raises(DatasetError) as caught:
            run()
    assert "normalized/ann/hm.flac: 0.046 s is too short for a frame" in str(caught.value)
    assert "normalized/ann/oh.flac: 0.046 s is too short for a frame" in str(caught.value)
    assert "(2 problems)" in str(caught.value)
    assert not Path("codes").exists()
    assert "2 skipped, 0 unchanged" in run(on_bad_clip="skip")
    assert contents("codes").keys() == CODES
    assert "normalized/ann/hm.flac" in Path("skipped.txt").read_text()
    assert json.loads(Path("metrics.json").read_text())["num_skipped"] == 2


@pytest.mark.parametrize(("rate_hz", "num_samples"), [(44100, 2048), (8000, 372)])
def test_the_shortest_clip_has_one_frame(
    rate_hz: int, num_samples: int, run: Any, make_clip: Any
) -> None:
    make_clip(Path("normalized/ann/hm.flac"), rate_hz=rate_hz, seconds=num_samples / rate_hz)
    run()
    assert np.load("codes/ann/hm.npy").shape == (8, 1)


@pytest.mark.usefixtures("_clips")
def test_all_damaged_clips_are_listed_in_the_error(run: Any) -> None:
    Path("normalized/ann/a.flac").write_bytes(b"fLaC")
    Path("normalized/x/bob/b.flac").write_bytes(b"")
    with pytest.raises(AudioError) as caught:
        run()
    assert "ann/a.flac: not readable as audio" in str(caught.value)
    assert "x/bob/b.flac: not readable as audio" in str(caught.value)
    assert not Path("codes").exists()


def test_an_input_without_clips_is_an_error(run: Any) -> None:
    Path("normalized").mkdir()
    with pytest.raises(DatasetError, match=r"normalized: no \.flac in it; run the stage"):
        run()


@pytest.mark.usefixtures("_clips")
def test_a_missing_or_damaged_codec_is_an_error(run: Any) -> None:
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file; correct base\.codec_check"):
        run(checkpoint=Path("no.pth"))
    with pytest.raises(ParamsError, match=r"extract_vq\.codec_config: no\.json is not in data/"):
        run(codec_config="no.json")
    Path("cut.pth").write_bytes(b"PK\3\4")
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        run(checkpoint=Path("cut.pth"))
    assert not Path("codes").exists()
