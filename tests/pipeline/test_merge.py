"""Stage merge writes a complete model folder with the chosen adapter, or nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

import fishdvc.pipeline.merge as stage
from fishdvc.codec.checkpoint import load_codec
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.lora.adapter import add_adapter, load_adapter, save_adapter
from fishdvc.lora.checkpoint_list import Checkpoint, write_checkpoints
from fishdvc.lora.choice import ChosenCheckpoint
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.pipeline.merge import merge
from fishdvc.pipeline.shared_params import EXTERNAL
from fishdvc.storage.cache import content_hash
from fishdvc.text.tokenizer import load_tokenizer

LOSSES = {10: 5.01, 20: 5.0, 30: 5.5}
MERGED = Path("merged")


@pytest.fixture(scope="module")
def adapters(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Different adapters of steps 10, 20 and 30 and their list."""
    folder = tmp_path_factory.mktemp("lora")
    torch.manual_seed(0)
    adapted = add_adapter(load_dual_ar(base_folder), r=4, alpha=8, dropout=0.0)
    entries = [Checkpoint(step=0, val_loss=9.0, folder=None)]
    for step, val_loss in LOSSES.items():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data += 0.02 * torch.randn_like(parameter)
        entries.append(Checkpoint(step=step, val_loss=val_loss, folder=f"step_{step:09d}"))
        save_adapter(adapted, folder / f"step_{step:09d}")
    write_checkpoints(folder, entries)
    return folder


@pytest.fixture
def run(shipped: Any, base_folder: Path, adapters: Path) -> Any:
    def run(
        *,
        base: Path = base_folder,
        lora: Path = adapters,
        choice: Path | None = None,
        base_source: str = "",
        training: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        # Most tests are about adapters and not about the choice.
        if choice is None:
            changes = {"checkpoint": "best_val_loss", **changes}
        return merge(
            shipped("merge", **changes),
            choice=choice,
            base_source=base_source,
            training=training,
            base=base,
            codec_checkpoint=next(base_folder.glob("firefly*.pth")).name,
            lora_folder=lora,
            merged=MERGED,
            metrics=Path("metrics.json"),
        )

    return run


def logits(model: Any) -> Tensor:
    torch.manual_seed(1)
    output = model(torch.randint(1, 1000, (1, 9, 7)))
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])


@pytest.mark.parametrize(("tolerance", "step"), [(0.001, 20), (0.01, 10)])
def test_the_merged_model_computes_the_same_as_the_base_with_the_chosen_adapter(
    tolerance: float, step: int, run: Any, base_folder: Path, adapters: Path
) -> None:
    summary = run(checkpoint="earliest_within_tolerance", tolerance=tolerance)
    assert summary.startswith(f"merge: step_{step:09d} into ")
    adapted = load_adapter(load_dual_ar(base_folder), adapters / f"step_{step:09d}")
    merged = load_dual_ar(MERGED)
    with torch.inference_mode():
        torch.testing.assert_close(logits(merged), logits(adapted), rtol=1e-4, atol=1e-4)
        assert (logits(merged) - logits(load_dual_ar(base_folder))).abs().max() > 1e-2
    figures = json.loads(Path("metrics.json").read_text())
    assert figures == {"merged_step": step, "merged_val_loss": LOSSES[step]}


def write_choice(checkpoint: str) -> Path:
    path = Path("choice.json")
    ChosenCheckpoint(
        checkpoint=checkpoint,
        reason="It has the most similar voice.",
        warning=None,
        num_clips=404,
        hours=0.52,
        figures={"base": {"cer": 0.33, "similarity": 0.54}, checkpoint: {"cer": 0.25}},
    ).write(path)
    return path


def test_best_is_the_choice_of_evaluate(run: Any) -> None:
    run(choice=write_choice("step_000000030"))
    assert json.loads(Path("metrics.json").read_text())["merged_step"] == 30
    for name in ("step_000000040", "last"):
        with pytest.raises(CheckpointError, match=f"evaluate chose '{name}', .* run evaluate"):
            run(choice=write_choice(name))
    with pytest.raises(ParamsError, match=r"merge\.checkpoint: best needs --choice"):
        run(choice=None, checkpoint="best")
    with pytest.raises(CheckpointError, match=r"cannot read no\.json.*evaluate writes"):
        run(choice=Path("no.json"))


def test_the_model_card_has_base_licence_data_params_and_figures(run: Any, shipped: Any) -> None:
    run(
        choice=write_choice("step_000000010"),
        base_source="fishaudio/fish-speech-1.5",
        training={"lora": shipped("lora"), "train_lora": shipped("train_lora", max_steps=77)},
    )
    card = (MERGED / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    found = yaml.safe_load(header)
    assert found["base_model"] == "fishaudio/fish-speech-1.5"
    assert found["license"] == "cc-by-nc-sa-4.0"
    assert found["pipeline_tag"] == "text-to-speech"
    assert "`step_000000010`" in body
    assert "31.2 min, 404 clips" in body
    assert "| metric | merged | base |\n|---|---|---|\n| cer | 0.25 | 0.33 |\n" in body
    assert "| similarity |  | 0.54 |" in body
    assert "| train_lora.max_steps | 77 |" in body


def test_a_folder_as_base_has_no_licence_in_the_card(run: Any, base_folder: Path) -> None:
    run(choice=write_choice("step_000000010"), base_source=str(base_folder))
    card = (MERGED / "README.md").read_text()
    assert "license:" not in card
    assert "base_model:" not in card


def test_the_folder_has_all_files_of_a_base(run: Any, base_folder: Path) -> None:
    run()
    expected = {p.name for p in base_folder.iterdir()} | {"README.md"}
    assert {p.name for p in MERGED.iterdir()} == expected
    for path in base_folder.iterdir():
        if path.name != "model.pth":
            assert content_hash(MERGED / path.name) == content_hash(path)
    base, merged = load_weights(base_folder / "model.pth"), load_weights(MERGED / "model.pth")
    assert list(merged) == list(base)
    assert {k: (t.shape, t.dtype) for k, t in merged.items()} == {
        k: (t.shape, t.dtype) for k, t in base.items()
    }
    assert type(torch.load(MERGED / "model.pth", weights_only=True)) is dict
    load_tokenizer(MERGED)
    load_codec(next(MERGED.glob("firefly*.pth")), next(MERGED.glob("firefly*.json")))


def test_safetensors_contain_the_same_weights(run: Any) -> None:
    run(safetensors=True)
    expected = load_weights(MERGED / "model.pth")
    found = load_file(MERGED / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_a_bfloat16_base_stays_bfloat16(run: Any, base_folder: Path, work: Path) -> None:
    base = shutil.copytree(base_folder, work / "base")
    weights = {key: t.bfloat16() for key, t in load_weights(base_folder / "model.pth").items()}
    torch.save(weights, base / "model.pth")
    run(base=base)
    merged = load_weights(MERGED / "model.pth")
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}
    assert not torch.equal(merged["output.weight"], weights["output.weight"])


def test_merging_a_reference_checkpoint_equals_the_reference(run: Any, assets: Path) -> None:
    name = "reference_lora_step_000000010.ckpt"
    checkpoint = EXTERNAL / "merge" / name
    checkpoint.parent.mkdir(parents=True)
    shutil.copyfile(assets / "text2semantic" / name, checkpoint)
    summary = run(checkpoint=str(checkpoint), reference_alpha=8.0, lora=Path("none"))
    assert summary.startswith(f"merge: {checkpoint.name} into ")
    merged = load_weights(MERGED / "model.pth")
    for key, expected in load_file(assets / "text2semantic/merged.safetensors").items():
        torch.testing.assert_close(merged[key], expected, rtol=0, atol=1e-6)
    assert Path("metrics.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "step_40"}, r"no 'step_40'; choose best, .*step_000000010, step_000000020"),
        ({"checkpoint": "no.ckpt"}, r"merge\.checkpoint: no\.ckpt is not in data/external/merge"),
        ({"checkpoint": "data/external/merge/no.ckpt"}, r"no\.ckpt: no such file"),
        ({"lora": Path("none")}, r"none/checkpoints\.json: expected .* run train_lora again"),
    ],
)
def test_a_missing_adapter_is_an_error(changes: dict[str, Any], message: str, run: Any) -> None:
    with pytest.raises((CheckpointError, ParamsError), match=message):
        run(**changes)
    assert not MERGED.exists()
    assert not Path("metrics.json").exists()


def test_an_adapter_of_another_base_is_refused(run: Any, adapters: Path, work: Path) -> None:
    shutil.copytree(adapters, work / "lora")
    path = work / "lora/step_000000030/adapter_model.safetensors"
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith("layers.0.attention.wo.lora_A.weight"))
    tensors[key] = torch.zeros(4, 33)
    save_file(tensors, path)
    with pytest.raises(
        CheckpointError, match=r"attention\.wo\.weight: adapted at shape \(32, 33\)"
    ):
        run(lora=work / "lora", checkpoint="last")
    assert not MERGED.exists()


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, r"changes nothing"), (torch.nan, r"NaN or infinite")]
)
def test_an_adapter_of_zeros_or_nan_is_named(
    value: float, message: str, run: Any, adapters: Path, work: Path
) -> None:
    shutil.copytree(adapters, work / "lora")
    path = work / "lora/step_000000030/adapter_model.safetensors"
    tensors = {key: torch.full_like(t, value) for key, t in load_file(path).items()}
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=rf"(?s)lora/step_000000030.*{message}"):
        run(lora=work / "lora", checkpoint="last")
    assert not MERGED.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda weights, _path: save(weights, "/dev/full"))
    with pytest.raises(CheckpointError, match=r"merged: cannot be written: .*free space"):
        run()
    assert not MERGED.exists()


def test_all_missing_files_of_the_base_are_listed(run: Any, base_folder: Path, work: Path) -> None:
    base = shutil.copytree(base_folder, work / "base")
    (base / "tokenizer.tiktoken").unlink()
    next(base.glob("firefly*.pth")).unlink()
    with pytest.raises(CheckpointError, match=r"(?s)fetch_base again \(2 pr.*tokenizer.*firefly"):
        run(base=base)
    assert not MERGED.exists()


@pytest.mark.parametrize("check", ["weights", "logits"])
def test_a_model_that_fails_a_check_is_not_written(
    check: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint="last")
    before = content_hash(MERGED / "model.pth")
    correct, changed = stage.merge_adapter, "layers.1.feed_forward.w2.weight"

    def wrong(*args: Any) -> dict[str, Tensor]:
        weights = correct(*args)
        weights[changed] = weights[changed] * 1.01
        return weights

    monkeypatch.setattr(stage, "merge_adapter", wrong)
    message = rf"not the base with the adapter.*\n  {changed}: the error is"
    if check == "logits":
        monkeypatch.setattr(stage, "check_merged", lambda *_: None)
        message = "expected the logits of the base with the adapter"
    with pytest.raises(CheckpointError, match=message):
        run(checkpoint="step_000000010")
    assert content_hash(MERGED / "model.pth") == before
    assert json.loads(Path("metrics.json").read_text())["merged_step"] == 30
    assert list(Path().glob(".merged*")) == []
