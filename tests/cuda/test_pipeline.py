"""The stages on a GPU: the whole pipeline on the small model, and resuming."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fishdvc.cli.main import main
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.pipeline.build_protos import build_protos
from fishdvc.pipeline.extract_vq import extract_vq
from fishdvc.pipeline.fetch_base import fetch_base
from fishdvc.pipeline.merge import merge
from fishdvc.pipeline.normalize import normalize
from fishdvc.training.module import AdapterTraining
from tests.pipeline.training_run import checkpoints, train
from tests.sections import shipped
from tests.small_project import CODEC_NAME, VOICE, copy_base, make_clip

pytestmark = pytest.mark.cuda

BASE, NORMALIZED, PROTOS = Path("data/base"), Path("data/normalized"), Path("data/protos")
CODEC = f"{CODEC_NAME}.pth"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the stages before extract_vq in a new folder. Returns the parameters of clips."""
    monkeypatch.chdir(tmp_path)
    source = "data/external/fetch_base/source"
    copy_base(Path(source))
    Path(BASE).parent.mkdir(exist_ok=True)
    fetch_base(shipped("base", source=source), init_from=None, base=BASE)
    for i in range(6):
        make_clip(Path(VOICE, "ann", f"{i}.wav"), seconds=0.5 + i / 10, seed=i, text=f"Clip {i}.")
    dataset = shipped("dataset", path=VOICE)
    reports = {"skipped": Path("skipped.txt"), "metrics": Path("metrics.json")}
    normalize(dataset, shipped("normalize"), workers=1, normalized=NORMALIZED, **reports)
    return {"dataset": dataset, "reports": reports}


def encode(data: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Run extract_vq without a cache. Returns the codes by clip."""
    shutil.rmtree(".fishdvc_cache/extract_vq", ignore_errors=True)
    extract_vq(
        shipped("base", codec_checkpoint=CODEC),
        data["dataset"],
        shipped("extract_vq"),
        shipped("machine", accelerator=device.type, workers=2),
        base=BASE,
        normalized=NORMALIZED,
        codes=Path("data/codes"),
        **data["reports"],
    )
    return {path.stem: np.load(path) for path in Path("data/codes").rglob("*.npy")}


def test_the_stage_writes_the_codes_of_the_cpu(data: dict[str, Any], device: torch.device) -> None:
    expected, found = encode(data, torch.device("cpu")), encode(data, device)
    assert found.keys() == expected.keys()
    assert len(found) == 6
    # A value at a boundary between two codes may be rounded to either.
    equal = [found[name] == codes for name, codes in expected.items()]
    assert np.concatenate(equal, axis=1).mean() > 0.99


def test_the_whole_pipeline_gives_a_model_that_speaks(
    data: dict[str, Any], device: torch.device, top: Path
) -> None:
    encode(data, device)
    build_protos(
        data["dataset"],
        shipped("build_protos"),
        workers=1,
        base=BASE,
        normalized=NORMALIZED,
        codes=Path("data/codes"),
        protos=PROTOS,
        **data["reports"],
    )
    folder = Path("training").absolute()
    options = {"accelerator": device.type, "precision": "auto", "learning_rate": 0.01}
    train(folder, BASE.absolute(), PROTOS.absolute(), **options)
    untuned, *_, last = checkpoints(folder)
    assert last["val_loss"] < untuned["val_loss"]
    tensors = load_file(folder / "lora" / last["folder"] / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}

    merge(
        shipped("merge", checkpoint="last"),
        base=BASE,
        codec_checkpoint=CODEC,
        lora_folder=folder / "lora",
        merged=Path("data/merged"),
        metrics=Path("metrics.json"),
    )
    assert json.loads(Path("metrics.json").read_text())["merged_step"] == last["step"]
    load_dual_ar("data/merged", device=device)
    shutil.copyfile(top / "params.yaml", "params.yaml")
    reference = str(Path(VOICE, "ann/0.wav"))
    words = ["Hello there.", "--reference", reference, "--device", device.type, "-o", "hello.wav"]
    assert main(["speak", *words, "--max-part-s", "0.4"]) == 0
    assert Path("hello.wav").stat().st_size > 1000


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(
    base_folder: Path,
    small_protos: Path,
    tmp_path: Path,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {"accelerator": device.type, "lora": {"dropout": 0.3}, "learning_rate": 0.01}
    train(tmp_path / "whole", base_folder, small_protos, **options)

    class InterruptionError(Exception):
        pass

    step = AdapterTraining.training_step

    def interrupted(module: AdapterTraining, *args: Any) -> Any:
        if module.trainer.global_step == 3:
            raise InterruptionError
        return step(module, *args)

    with monkeypatch.context() as patch:
        patch.setattr(AdapterTraining, "training_step", interrupted)
        with pytest.raises(InterruptionError):
            train(tmp_path / "resumed", base_folder, small_protos, **options)
    capsys.readouterr()
    train(tmp_path / "resumed", base_folder, small_protos, **options)
    assert "resuming from step_000000002" in capsys.readouterr().out
    # Not bit for bit: a GPU adds up the gradients of embeddings in any order.
    losses = [
        [entry["val_loss"] for entry in checkpoints(tmp_path / run)] for run in ("whole", "resumed")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
