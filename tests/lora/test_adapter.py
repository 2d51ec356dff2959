"""Adapters on the model: the reference's training step, saving and loading, refusals."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.lora.adapter import ALL_TARGETS, add_adapter, load_adapter, save_adapter
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR
from fishdvc.training.loss import dual_ar_loss


@pytest.fixture
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic")


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/lora_step.safetensors")


@pytest.fixture(scope="module")
def batch(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/forward.safetensors")


def reference_names(peft_model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, under the reference's names: ``<module>.lora_A``, ``<module>.lora_B``."""
    return {
        re.sub(r"lora_(?:embedding_)?([AB])\.default(\.weight)?$", r"lora_\1", name).removeprefix(
            "base_model.model."
        ): parameter
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad
    }


def section(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def test_one_training_step_is_the_reference_s(
    model: DualAR, golden: dict[str, Tensor], batch: dict[str, Tensor]
) -> None:
    peft_model = add_adapter(model, r=4, alpha=8, dropout=0.0)
    trained = reference_names(peft_model)
    initial = section(golden, "lora.")
    assert trained.keys() == initial.keys()
    for name, parameter in trained.items():
        parameter.data.copy_(initial[name])

    loss = dual_ar_loss(peft_model, batch["inputs"], batch["labels"]).loss
    torch.testing.assert_close(loss.detach(), golden["loss"].squeeze(), rtol=1e-5, atol=1e-5)

    loss.backward()
    for name, expected in section(golden, "grad.").items():
        got = trained[name].grad
        assert got is not None, name
        assert (got - expected).norm() <= 1e-4 * expected.norm(), name

    optimizer = torch.optim.AdamW(
        trained.values(), lr=1e-4, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.0
    )
    optimizer.step()
    for name, expected in section(golden, "after.").items():
        torch.testing.assert_close(trained[name].data, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_a_new_adapter_changes_nothing(
    model: DualAR, batch: dict[str, Tensor], options: dict[str, bool]
) -> None:
    model.requires_grad_(False)
    before = model(batch["inputs"]).token_logits
    after = add_adapter(model, r=2, alpha=4, dropout=0.5, **options).eval()(batch["inputs"])
    torch.testing.assert_close(after.token_logits, before, rtol=1e-5, atol=1e-5)


def test_adapters_are_float32_on_a_bfloat16_base(assets: Path, batch: dict[str, Tensor]) -> None:
    model = load_dual_ar(assets / "text2semantic", dtype=torch.bfloat16)
    peft_model = add_adapter(model, r=2, alpha=4, dropout=0.0)
    loss = dual_ar_loss(peft_model, batch["inputs"], batch["labels"]).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in peft_model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name), name
        assert parameter.dtype == (torch.float32 if "lora_" in name else torch.bfloat16), name
        # B starts at 0, so A's gradient is 0 at first, but there it is.
        assert (parameter.grad is not None) == ("lora_" in name), name


def test_dropout_is_on_linear_layers_only(model: DualAR) -> None:
    peft_model = add_adapter(
        model, r=2, alpha=4, dropout=1.0, targets=["embeddings", "codebook_embeddings"]
    )
    for parameter in reference_names(peft_model).values():
        parameter.data.normal_()
    inputs = torch.full((1, 9, 5), 3)
    inputs[:, 0] = 1040
    hidden = [peft_model.train(mode).hidden_states(inputs) for mode in (True, False)]
    torch.testing.assert_close(*hidden, rtol=0, atol=0)


def test_targets_choose_the_places(model: DualAR) -> None:
    peft_model = add_adapter(model, r=2, alpha=4, dropout=0.0, targets=["output", "wqkv"])
    modules = {name.rpartition(".")[0] for name in reference_names(peft_model)}
    slow = {f"layers.{i}.attention.wqkv" for i in range(3)}
    assert modules == {"output"} | slow | {f"fast_{name}" for name in slow if "2" not in name}


def test_bad_targets_are_all_named(model: DualAR) -> None:
    with pytest.raises(ParamsError) as error:
        add_adapter(model, r=2, alpha=4, dropout=0.0, targets=["wq", "w1", "w1", "head"])
    for part in ("3 problems", "'wq': unknown", "'head': unknown", "'w1': given twice"):
        assert part in str(error.value)
    with pytest.raises(ParamsError, match="none given"):
        add_adapter(model, r=2, alpha=4, dropout=0.0, targets=[])


def test_tied_embeddings_are_refused(model: DualAR) -> None:
    object.__setattr__(model.config, "tie_word_embeddings", True)
    with pytest.raises(ParamsError, match="'embeddings': cannot be adapted"):
        add_adapter(model, r=2, alpha=4, dropout=0.0, targets=["embeddings", "w1"])


def randomized(model: DualAR, **options: bool) -> nn.Module:
    peft_model = add_adapter(model, r=2, alpha=4, dropout=0.0, **options)
    torch.manual_seed(0)
    for parameter in reference_names(peft_model).values():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return peft_model.eval()


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_a_loaded_adapter_gives_what_was_saved(
    assets: Path,
    model: DualAR,
    batch: dict[str, Tensor],
    tmp_path: Path,
    options: dict[str, bool],
) -> None:
    saved = randomized(model, **options)
    save_adapter(saved, tmp_path / "adapter")
    loaded = load_adapter(load_dual_ar(assets / "text2semantic"), tmp_path / "adapter").eval()
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with torch.no_grad():
        expected, got = saved(batch["inputs"]), loaded(batch["inputs"])
    torch.testing.assert_close(got.token_logits, expected.token_logits, rtol=0, atol=0)
    torch.testing.assert_close(got.codebook_logits, expected.codebook_logits, rtol=0, atol=0)


def test_a_loaded_adapter_can_be_trained_on(assets: Path, model: DualAR, tmp_path: Path) -> None:
    save_adapter(randomized(model), tmp_path / "adapter")
    base = load_dual_ar(assets / "text2semantic")
    loaded = load_adapter(base, tmp_path / "adapter", trainable=True)
    assert all(
        parameter.requires_grad == ("lora_" in n) for n, parameter in loaded.named_parameters()
    )


def test_equal_weights_give_equal_bytes_and_replace_the_folder(
    model: DualAR, tmp_path: Path
) -> None:
    peft_model = randomized(model)
    for name in ("a", "b", "b"):
        save_adapter(peft_model, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    names = ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    config = (tmp_path / "a" / names[0]).read_text()
    assert str(tmp_path) not in config
    assert [config.index(f'"{target}"') for target in sorted(ALL_TARGETS)] == sorted(
        config.index(f'"{target}"') for target in ALL_TARGETS
    )


def test_an_adapter_of_another_base_is_refused(assets: Path, model: DualAR, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(randomized(model), folder)
    (folder / "adapter_config.json").write_text(
        (folder / "adapter_config.json").read_text().replace('"wo",', "")
    )
    base = load_dual_ar(assets / "text2semantic")
    with pytest.raises(CheckpointError, match=r"wo\.lora_A.*unexpected"):
        load_adapter(base, folder)
