"""Stage merge writes a complete model folder with the chosen adapter, or nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import fishdvc.pipeline.merge as stage
from fishdvc.codec.checkpoint import load_codec
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.lora.adapter import add_adapter, load_adapter, save_adapter
from fishdvc.lora.checkpoint_list import Checkpoint, write_checkpoints
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.pipeline.merge import merge
from fishdvc.pipeline.shared_params import EXTERNAL
from fishdvc.storage.cache import content_hash
from fishdvc.text.tokenizer import load_tokenizer

LOSSES = {0: 9.0, 10: 5.01, 20: 5.0, 30: 5.5}
MERGED = Path("merged")


def add_adapters(base: Path, folder: Path, *, zero: bool = False, **lora: Any) -> None:
    """Write different adapters of steps 10, 20 and 30 and their list."""
    torch.manual_seed(0)
    adapted = add_adapter(load_dual_ar(base), **{"r": 4, "alpha": 8, "dropout": 0.0, **lora})
    entries = []
    for step, val_loss in LOSSES.items():
        name = f"step_{step:09d}" if step else None
        entries.append(Checkpoint(step=step, val_loss=val_loss, folder=name))
        if name is None:
            continue
        with torch.no_grad():
            for key, parameter in adapted.named_parameters():
                if "lora_" in key and not zero:
                    parameter.add_(0.02 * torch.randn_like(parameter))
        save_adapter(adapted, folder / name)
    write_checkpoints(folder, entries)


@pytest.fixture(scope="module")
def adapters(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    add_adapters(base_folder, folder)
    return folder


@pytest.fixture
def run(shipped: Any, base_folder: Path, adapters: Path) -> Any:
    def run(*, base: Path = base_folder, lora: Path = adapters, **changes: Any) -> str:
        return merge(
            shipped("merge", **changes),
            base=base,
            codec_checkpoint=next(base_folder.glob("firefly*.pth")).name,
            lora_folder=lora,
            merged=MERGED,
            metrics=Path("metrics.json"),
        )

    return run


def converted(base: Path, folder: Path, dtype: torch.dtype) -> tuple[Path, dict[str, Tensor]]:
    """Copy a base and convert its weights to another type."""
    shutil.copytree(base, folder)
    weights = {key: t.to(dtype) for key, t in load_weights(base / "model.pth").items()}
    # Adding 0 would change -0.0 to 0.0.
    weights["output.weight"] = weights["output.weight"].clone()
    weights["output.weight"][0, 0] = -0.0
    torch.save(weights, folder / "model.pth")
    return folder, weights


def logits(model: Any) -> Tensor:
    torch.manual_seed(1)
    output = model(torch.randint(1, 1000, (1, 9, 7)))
    return torch.cat([output.token_logits.flatten(), output.codebook_logits.flatten()])


@pytest.mark.parametrize(
    ("choice", "tolerance", "step"),
    [("last", 0.0, 30), ("best_val_loss", 0.5, 20), ("earliest_within_tolerance", 0.01, 10)],
)
def test_the_merged_model_computes_the_same_as_the_base_with_the_chosen_adapter(
    choice: str, tolerance: float, step: int, run: Any, base_folder: Path, adapters: Path
) -> None:
    summary = run(checkpoint=choice, tolerance=tolerance)
    assert summary.startswith(f"merge: step_{step:09d} into ")
    adapted = load_adapter(load_dual_ar(base_folder), adapters / f"step_{step:09d}")
    merged = load_dual_ar(MERGED)
    with torch.inference_mode():
        torch.testing.assert_close(logits(merged), logits(adapted), rtol=1e-4, atol=1e-4)
        assert (logits(merged) - logits(load_dual_ar(base_folder))).abs().max() > 1e-2
    figures = json.loads(Path("metrics.json").read_text())
    assert figures == {"merged_step": step, "merged_val_loss": LOSSES[step]}


def test_the_folder_has_all_files_of_a_base(run: Any, base_folder: Path) -> None:
    run()
    assert {p.name for p in MERGED.iterdir()} == {p.name for p in base_folder.iterdir()}
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("use_dora", [False, True])
def test_a_zero_adapter_gives_the_base_bit_for_bit(
    dtype: torch.dtype, use_dora: bool, run: Any, base_folder: Path, work: Path
) -> None:
    base, weights = converted(base_folder, work / "base", dtype)
    add_adapters(base, work / "lora", zero=True, use_dora=use_dora)
    run(base=base, lora=work / "lora")
    merged = load_weights(MERGED / "model.pth")
    for key, tensor in weights.items():
        if use_dora:
            # DoRA multiplies by norms and divides by them, so the last bit may differ.
            torch.testing.assert_close(merged[key], tensor)
        else:
            assert torch.equal(merged[key].view(torch.uint8), tensor.view(torch.uint8))
            assert merged[key].dtype == dtype


def test_a_bfloat16_base_stays_bfloat16(run: Any, base_folder: Path, work: Path) -> None:
    base, weights = converted(base_folder, work / "base", torch.bfloat16)
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
        ({"checkpoint": "step_40"}, r"no 'step_40'; choose last, .*step_000000010, step_000000020"),
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


def test_an_adapter_that_does_not_fit_is_an_error(run: Any, adapters: Path, work: Path) -> None:
    shutil.copytree(adapters, work / "lora")
    path = work / "lora/step_000000030/adapter_model.safetensors"
    tensors = load_file(path)
    tensors["base_model.model.layers.0.attention.wo.lora_A.weight"] = torch.zeros(4, 33)
    save_file(tensors, path)
    message = r"attention\.wo\.weight: adapted at shape \(32, 33\)"
    with pytest.raises(CheckpointError, match=message):
        run(lora=work / "lora", checkpoint="last")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"cannot read .*adapter_model\.safetensors"):
        run(lora=work / "lora", checkpoint="last")
    assert not MERGED.exists()


def test_all_missing_files_of_the_base_are_listed(run: Any, base_folder: Path, work: Path) -> None:
    base = shutil.copytree(base_folder, work / "base")
    (base / "tokenizer.tiktoken").unlink()
    next(base.glob("firefly*.pth")).unlink()
    with pytest.raises(CheckpointError, match=r"(?s)fetch_base again \(2 pr.*tokenizer.*firefly"):
        run(base=base)
    assert not MERGED.exists()


@pytest.mark.parametrize("changed", ["output.weight", "layers.1.feed_forward.w2.weight"])
@pytest.mark.parametrize("check", ["weights", "logits"])
def test_a_model_that_fails_a_check_is_not_written(
    changed: str, check: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint="last")
    before = content_hash(MERGED / "model.pth")
    correct = stage.merge_adapter

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
