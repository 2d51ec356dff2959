"""train_lora: adapters, metrics and curves of a run, and equal bytes from equal seeds."""

import contextlib
import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from fishdvc.errors import CheckpointError, DatasetError, FishdvcError, ParamsError
from fishdvc.lora.files import read_adapter
from fishdvc.training.module import AdapterTraining
from fishdvc.training.params import TrainLoraParams
from fishdvc.validation import parse
from tests.pipeline.training_run import adapters, checkpoints, column, metrics, train
from tests.sections import shipped


class Finished(NamedTuple):
    folder: Path
    summary: str
    printed: str


@pytest.fixture(scope="module")
def finished(
    base_folder: Path, small_protos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A run of 4 steps, read only."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        summary = train(folder, base_folder, small_protos, lora={"dropout": 0.1}, logger="csv")
    return Finished(folder, summary, printed.getvalue())


@pytest.fixture
def run(base_folder: Path, small_protos: Path, work: Path) -> Any:
    def run(*, base: Path = base_folder, protos: Path = small_protos, **changes: Any) -> str:
        return train(work, base, protos, **changes)

    return run


def test_a_run_saves_adapters_with_their_validation_losses(finished: Finished) -> None:
    listed = checkpoints(finished.folder)
    assert [entry["step"] for entry in listed] == [0, 2, 4]
    assert [entry["folder"] for entry in listed] == [None, "step_000000002", "step_000000004"]
    losses = [entry["val_loss"] for entry in listed]
    assert losses[2] < losses[1] < losses[0]
    files = [f"{entry['folder']}/adapter_" for entry in listed[1:]]
    assert set(adapters(finished.folder)) == {
        "checkpoints.json",
        *(f"{file}{name}" for file in files for name in ("config.json", "model.safetensors")),
    }
    for entry in listed[1:]:
        folder = finished.folder / "lora" / entry["folder"]
        tensors = load_file(folder / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
        assert read_adapter(folder).scale == 16 / 2


def test_a_run_writes_metrics_and_a_summary(finished: Finished) -> None:
    losses = [entry["val_loss"] for entry in checkpoints(finished.folder)]
    found = metrics(finished.folder)
    assert found["untuned_val_loss"] == pytest.approx(losses[0], abs=1e-5)
    assert found["best_val_loss"] == pytest.approx(losses[2], abs=1e-5)
    assert found["best_step"] == 4
    summary = re.search(r"validation loss ([\d.]+) -> ([\d.]+) \(step 4\)", finished.summary)
    assert summary
    assert [float(loss) for loss in summary.groups()] == pytest.approx(losses[::2], abs=1e-4)
    assert (finished.folder / "too_long.txt").read_text().startswith("train_lora: 0 clips longer")
    (line,) = finished.printed.splitlines()
    assert "9 sentences" in line
    assert "4 steps are about" in line
    assert "0 blocks checkpointed" in line


def test_a_run_writes_curves_by_optimizer_step_and_logs(finished: Finished) -> None:
    folder = finished.folder
    last = json.loads((folder / "curves/metrics.json").read_text())
    parts = {"loss", "token_loss", "code_loss", "top_5_accuracy"}
    assert set(last["val"]) == parts
    assert set(last["train"]) == parts | {"learning_rate", "grad_norm", "tokens_per_second"}
    assert last["step"] == 4
    for part in parts:
        assert column(folder, f"val/{part}").keys() == {0, 2, 4}
    for name in last["train"]:
        assert column(folder, f"train/{name}").keys() == {1, 2, 3, 4}
    losses = {entry["step"]: entry["val_loss"] for entry in checkpoints(folder)}
    assert column(folder, "val/loss") == pytest.approx(losses)
    assert list(column(folder, "train/learning_rate").values()) == pytest.approx([1e-3] * 4)
    assert min(column(folder, "train/tokens_per_second").values()) > 0
    log = (folder / "logs/start/metrics.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(log)))
    logged = {int(row["step"]): float(row["train/loss"]) for row in rows if row["train/loss"]}
    assert logged == pytest.approx(column(folder, "train/loss"))


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(finished: Finished, run: Any) -> None:
    run(lora={"dropout": 0.1})
    assert adapters(Path()) == adapters(finished.folder)
    run(lora={"dropout": 0.1}, seed=43)
    assert adapters(Path()) != adapters(finished.folder)


def test_coverage_is_the_share_of_sentences_seen(finished: Finished, run: Any) -> None:
    summary = run(max_steps=12, val_every_steps=12, checkpoint_every_steps=12)
    assert 0.4 < metrics(finished.folder)["coverage"] <= 1
    epochs = [float(re.search(r" ([\d.]+) epochs,", s)[1]) for s in (finished.summary, summary)]
    assert epochs[1] == pytest.approx(3 * epochs[0], abs=0.02)
    assert epochs[1] > 1
    assert metrics(Path())["coverage"] == 1


def test_too_long_sentences_of_both_splits_are_listed_and_lower_the_coverage(
    run: Any, small_protos: Path
) -> None:
    for split in ("train", "val"):
        shutil.copytree(small_protos / "train", Path("protos", split))
    steps = {"max_steps": 12, "val_every_steps": 12, "checkpoint_every_steps": 12}
    run(protos=Path("protos"), max_length=47, **steps)
    report = Path("too_long.txt").read_text().splitlines()
    assert len(report) > 1
    assert report[0] == f"train_lora: {len(report) - 1} clips longer than max_length"
    assert all(re.match(r"(ann|bob)/\d .*at most 47 tokens, got ", line) for line in report[1:])
    assert {report[1:].count(line) for line in report[1:]} == {2}
    num_fitting = 9 - len(report) // 2
    assert metrics(Path())["coverage"] == pytest.approx(num_fitting / 9, abs=1e-4)


def test_checkpoints_are_at_optimizer_steps_and_after_the_last(run: Any) -> None:
    summary = run(accumulate_grad_batches=3, max_steps=5, val_every_steps=1)
    assert "5 steps, 2.50 epochs" in summary  # 15 of 6 batches
    assert [entry["step"] for entry in checkpoints(Path())] == [0, 2, 4, 5]
    assert list(column(Path(), "train/loss")) == [1, 2, 3, 4, 5]
    assert list(column(Path(), "val/loss")) == [0, 1, 2, 3, 4, 5]
    # By default DVCLive would write it.
    assert not list(Path().rglob("dvc.yaml"))


def test_dora_and_rslora_adapters_of_a_bfloat16_base_are_float32(run: Any) -> None:
    run(lora={"use_dora": True, "use_rslora": True}, precision="bf16-true", max_steps=2)
    folder = Path("lora/step_000000002")
    assert read_adapter(folder).scale == pytest.approx(16 / 2**0.5)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert any("magnitude" in key for key in tensors)
    for key, tensor in tensors.items():
        assert tensor.dtype == torch.float32
        # If they had been bfloat16 in between, all values would have 8 bits.
        assert "_B" not in key or not torch.equal(tensor, tensor.bfloat16().float())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_checkpointing", True),
        ("learning_rate", 1e300),
        ("weight_decay", 1e300),
        ("gradient_clip_norm", 1e300),
        ("max_steps", 10**9),
        ("warmup_steps", 10**400),
        ("accumulate_grad_batches", 10**9),
    ],
)
def test_values_that_would_fail_later_are_out_of_range(name: str, value: object) -> None:
    values = {**vars(shipped("train_lora")), name: value}
    with pytest.raises(ParamsError, match=f"{name}: must be"):
        parse(values, TrainLoraParams, where="params.yaml", error=ParamsError)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_length": 513}, ParamsError, r"max_length: must be at most max_seq_len = 512 of the"),
        (
            {"lora": {"r": 33}},
            ParamsError,
            r"lora\.r: must be at most dim = 32 of the base",
        ),
        ({"max_length": 20}, DatasetError, r"every sentence is too long; .* \(9 problems\)"),
        ({"base": Path("empty")}, CheckpointError, r"empty/config\.json"),
        ({"init_from": "lora/step_000000002"}, ParamsError, "is not in data/external/train_lora"),
    ],
)
def test_errors_are_raised_before_outputs_are_written(
    changes: dict[str, Any], error: type[FishdvcError], message: str, run: Any
) -> None:
    with pytest.raises(error, match=message):
        run(**changes)
    assert {path.suffix for path in Path().rglob("*") if path.is_file()} <= {".lock"}


def test_gradient_checkpointing_changes_no_adapter(finished: Finished, run: Any) -> None:
    run(lora={"dropout": 0.1}, gradient_checkpointing="on")
    assert adapters(Path()) == adapters(finished.folder)


def test_too_little_memory_of_a_gpu_is_an_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def training_step(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(AdapterTraining, "training_step", training_step)
    with pytest.raises(ParamsError, match="the GPU has too little memory"):
        run()


def test_a_diverging_run_stops_and_keeps_the_adapters_before(run: Any) -> None:
    message = r"training diverged: \S+ is nan at step \d+ with learning rate 1e\+06; try a tenth of"
    with pytest.raises(ParamsError, match=message) as error:
        run(learning_rate=1e6, max_steps=8, gradient_clip_norm=0.0, warmup_steps=0)
    assert not Path("lora").exists()
    kept = Path(str(error.value).rpartition("before are in ")[2])
    for file in kept.rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


def test_a_base_that_is_not_finite_is_named(run: Any, base_folder: Path) -> None:
    shutil.copytree(base_folder, "broken")
    weights = torch.load("broken/model.pth")
    weights["norm.weight"][0] = torch.nan
    torch.save(weights, "broken/model.pth")
    with pytest.raises(CheckpointError, match=r"val/loss is nan before the first step: the base"):
        run(base=Path("broken"))
