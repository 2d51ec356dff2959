"""train_lora: adapters at every checkpoint, honest figures, the same bytes from the same seed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from fishdvc.dataset.shards import read_shard, write_shard
from fishdvc.errors import CheckpointError, DatasetError, ParamsError
from fishdvc.lora.files import read_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.pipeline.train_lora import train_lora
from fishdvc.text.tokenizer import load_tokenizer

SHORT = {
    "max_steps": 4,
    "val_every_steps": 2,
    "checkpoint_every_steps": 2,
    "batch_size": 1,
    "max_length": 120,
    "warmup_steps": 1,
    "learning_rate": 1e-3,
    "accelerator": "cpu",
    "precision": "32-true",
    "logger": "none",
}


@pytest.fixture
def run(shipped: Any, base_folder: Path, small_protos: Path) -> Any:
    def run(
        *,
        base: Path = base_folder,
        protos: Path = small_protos,
        lora: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        torch.manual_seed(0)
        return train_lora(
            shipped("lora", **{"r": 2, **(lora or {})}),
            shipped("train_lora", **{**SHORT, **changes}),
            base=base,
            protos=protos,
            lora_folder=Path("lora"),
            logs=Path("logs"),
            curves=Path("curves"),
            too_long=Path("too_long.txt"),
            metrics=Path("metrics.json"),
        )

    return run


def adapters() -> dict[str, bytes]:
    return {
        path.relative_to("lora").as_posix(): path.read_bytes()
        for path in sorted(Path("lora").rglob("*.*"))
    }


def column(name: str) -> dict[int, float]:
    lines = Path(f"curves/plots/metrics/{name}.tsv").read_text().splitlines()[1:]
    return {int(line.split("\t")[0]): float(line.split("\t")[1]) for line in lines}


def metrics() -> dict[str, float]:
    found: dict[str, float] = json.loads(Path("metrics.json").read_text())
    return found


def test_a_run_leaves_adapters_figures_and_curves(run: Any, capsys: Any) -> None:
    summary = run()
    assert set(adapters()) == {
        "checkpoints.json",
        *(
            f"step_00000000{step}/adapter_{name}"
            for step in (2, 4)
            for name in ("config.json", "model.safetensors")
        ),
    }
    checkpoints = json.loads(adapters()["checkpoints.json"])
    assert [entry["step"] for entry in checkpoints] == [0, 2, 4]
    assert [entry["folder"] for entry in checkpoints] == [None, "step_000000002", "step_000000004"]
    losses = [entry["val_loss"] for entry in checkpoints]
    assert losses[2] < losses[1] < losses[0]
    for entry in checkpoints[1:]:
        adapter = read_adapter(Path("lora") / entry["folder"])
        assert {module.lora_a.dtype for module in adapter.modules.values()} == {torch.float32}
        assert adapter.scale == 16 / 2

    assert metrics()["untuned_val_loss"] == pytest.approx(losses[0], abs=1e-5)
    assert metrics()["best_val_loss"] == pytest.approx(losses[2], abs=1e-5)
    assert metrics()["best_step"] == 4
    told = re.search(r"validation loss ([\d.]+) -> ([\d.]+) \(step 4\)", summary)
    assert told
    assert [float(loss) for loss in told.groups()] == pytest.approx(losses[::2], abs=1e-4)
    assert Path("too_long.txt").read_text().startswith("train_lora: 0 clips longer")

    last = json.loads(Path("curves/metrics.json").read_text())
    parts = {"loss", "token_loss", "code_loss", "top_5_accuracy"}
    assert set(last["val"]) == parts
    assert set(last["train"]) == parts | {"learning_rate", "grad_norm", "tokens_per_second"}
    assert last["step"] == 4
    for part in parts:
        assert column(f"val/{part}").keys() == {0, 2, 4}
    for name in last["train"]:
        assert column(f"train/{name}").keys() == {1, 2, 3, 4}
    assert column("val/loss") == pytest.approx(dict(zip((0, 2, 4), losses, strict=True)))
    assert list(column("train/learning_rate").values()) == pytest.approx([1e-3] * 4)
    assert min(column("train/tokens_per_second").values()) > 0
    assert "steps are about" in capsys.readouterr().out


def test_the_base_s_loss_is_over_all_held_out_sentences(
    run: Any, base_folder: Path, small_protos: Path
) -> None:
    from fishdvc.dataset.datamodule import SentenceDataModule
    from fishdvc.training.loss import dual_ar_loss

    losses = []
    for batch_size in (1, 2):
        run(max_steps=2, batch_size=batch_size)
        losses.append(metrics()["untuned_val_loss"])
    model = load_dual_ar(base_folder, dtype=torch.float32)
    data = SentenceDataModule(
        small_protos / "train",
        small_protos / "val",
        load_tokenizer(base_folder),
        num_codebooks=8,
        codebook_size=1024,
        batch_size=2,
        max_length=120,
        seed=0,
    )
    (batch,) = data.val_dataloader()
    with torch.inference_mode():
        expected = dual_ar_loss(model, batch.inputs, batch.labels).loss.item()
    assert losses == pytest.approx([expected, expected], abs=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(run: Any) -> None:
    run(lora={"dropout": 0.1})
    first = adapters()
    run(lora={"dropout": 0.1})
    assert adapters() == first
    run(lora={"dropout": 0.1}, seed=43)
    assert adapters() != first


def test_validation_sees_held_out_sentences_only(run: Any, small_protos: Path, work: Path) -> None:
    run()
    token_loss = metrics()["untuned_val_loss"]
    (other := work / "other").mkdir()
    (other / "val").symlink_to(small_protos / "val")
    (other / "train").mkdir()
    groups = list(read_shard(small_protos / "train/00000000.protos"))
    write_shard(other / "train/00000000.protos", groups[:1])
    run(protos=other)
    assert metrics()["untuned_val_loss"] == token_loss


def test_coverage_counts_sentences_and_epochs(run: Any) -> None:
    summary = run(max_steps=2)
    # A sequence holds two or three of the nine sentences.
    assert 0.2 < metrics()["coverage"] < 1
    assert epochs_told(summary) < 1
    summary = run(max_steps=12, val_every_steps=12, checkpoint_every_steps=12)
    assert metrics()["coverage"] == 1
    assert epochs_told(summary) > 1


def epochs_told(summary: str) -> float:
    told = re.search(r" ([\d.]+) epochs,", summary)
    assert told
    return float(told[1])


def test_sentences_too_long_are_named_and_counted(run: Any) -> None:
    run(max_length=47)
    report = Path("too_long.txt").read_text().splitlines()
    assert len(report) > 1
    assert report[0] == f"train_lora: {len(report) - 1} clips longer than max_length"
    assert all("at most 47 tokens, got " in line for line in report[1:])
    assert metrics()["coverage"] < 1


@pytest.mark.parametrize(
    ("accumulate", "max_steps", "steps"), [(2, 6, [0, 2, 4, 6]), (3, 5, [0, 2, 4, 5]), (1, 5, None)]
)
def test_checkpoints_come_at_optimizer_steps_however_batches_and_epochs_fall(
    accumulate: int, max_steps: int, steps: list[int] | None, run: Any
) -> None:
    run(accumulate_grad_batches=accumulate, max_steps=max_steps)
    checkpoints = json.loads(adapters()["checkpoints.json"])
    assert [entry["step"] for entry in checkpoints] == (steps or [0, 2, 4, 5])
    assert list(column("train/loss")) == list(range(1, max_steps + 1))


def test_dora_and_rslora_train_too(run: Any) -> None:
    run(lora={"use_dora": True, "use_rslora": True}, max_steps=2)
    adapter = read_adapter(Path("lora/step_000000002"))
    assert adapter.scale == pytest.approx(16 / 2**0.5)
    assert all(module.magnitude is not None for module in adapter.modules.values())


def test_on_a_bfloat16_base_adapters_stay_float32(run: Any) -> None:
    run(precision="bf16-true", max_steps=2)
    adapter = read_adapter(Path("lora/step_000000002"))
    for module in adapter.modules.values():
        assert module.lora_a.dtype == module.lora_b.dtype == torch.float32
        # Steps of 1e-3 from 0 would have 8 bits if a bfloat16 had been in the way.
        assert not torch.equal(module.lora_b, module.lora_b.bfloat16().float())


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_other_loggers_write_beside_the_curves(logger: str, run: Any) -> None:
    if logger == "tensorboard":
        pytest.importorskip("tensorboard")
    run(logger=logger, max_steps=2)
    assert [path for path in Path("logs").rglob("*") if path.is_file()]
    assert column("val/loss").keys() == {0, 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_every_steps": 3}, r"must be a multiple of val_every_steps \(2\), got 3"),
        ({"lora": {"targets": ("wqkv", "w9")}}, "'w9': unknown; known are embeddings"),
        ({"lora": {"targets": ()}}, "none given"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(
    changes: dict[str, Any], message: str, run: Any
) -> None:
    with pytest.raises(ParamsError, match=message):
        run(**changes)
    assert not Path("lora").exists()


def test_a_truncated_shard_is_named_and_nothing_is_written(
    run: Any, small_protos: Path, work: Path
) -> None:
    for split in ("train", "val"):
        (work / "cut" / split).mkdir(parents=True)
        content = (small_protos / split / "00000000.protos").read_bytes()
        kept = content[:-7] if split == "val" else content
        (work / "cut" / split / "00000000.protos").write_bytes(kept)
    with pytest.raises(DatasetError, match=r"cut/val/00000000\.protos: byte \d+: a group of"):
        run(protos=Path("cut"))
    assert not Path("lora").exists()
    assert not Path("metrics.json").exists()


def test_too_small_a_max_length_is_refused(run: Any) -> None:
    with pytest.raises(DatasetError, match=r"every sentence is too long; raise max_length \(9 pr"):
        run(max_length=20)
    assert not Path("lora").exists()


def test_a_base_that_lacks_a_file_is_named(run: Any, work: Path) -> None:
    (work / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty/config\.json"):
        run(base=Path("empty"))
    assert not Path("lora").exists()
