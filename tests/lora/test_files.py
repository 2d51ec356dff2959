"""Damaged and unsupported adapter files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fishdvc.errors import CheckpointError
from fishdvc.lora.files import read_adapter
from fishdvc.lora.reference import convert_reference_adapter

A_KEY = "base_model.model.layers.0.attention.wo.lora_A.weight"
B_KEY = "base_model.model.layers.0.attention.wo.lora_B.weight"


def write(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    needed = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["wo"]}
    content = {**needed, **config}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_folder_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {A_KEY: torch.ones(2, 5), B_KEY: torch.zeros(3, 2)}, use_rslora=True)
    adapter = read_adapter(folder)
    assert adapter.scale == pytest.approx(4 / 2**0.5)
    module = adapter.modules["layers.0.attention.wo"]
    assert (module.lora_a.shape, module.lora_b.shape) == ((2, 5), (3, 2))
    assert not module.is_embedding
    assert module.magnitude is None


def test_all_problems_of_the_tensors_are_listed(tmp_path: Path) -> None:
    embedding = "base_model.model.embeddings.lora_embedding_A"
    tensors = {A_KEY: torch.ones(3, 5), B_KEY: torch.zeros(3, 3), embedding: torch.ones(2, 2)}
    folder = write(tmp_path, {**tensors, "head": torch.ones(1)}, use_dora=True)
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in ("lora_b and magnitude missing", "head: unknown", "wo: magnitude missing"):
        assert part in str(error.value)
    with pytest.raises(CheckpointError, match="wo: expected rank 2, got A and B of shapes"):
        read_adapter(write(tmp_path, tensors))


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({A_KEY: torch.ones(()), B_KEY: torch.zeros(3, 2)}, "wo: expected rank 2"),
        ({A_KEY: torch.ones(2), B_KEY: torch.zeros(3, 2)}, "wo: expected rank 2"),
        ({A_KEY: torch.ones(2, 5), B_KEY: torch.zeros(())}, "wo: expected rank 2"),
        ({A_KEY: torch.ones(2, 5), B_KEY: torch.ones(3, 2).int()}, "expected a floating point typ"),
        ({A_KEY: torch.ones(2, 5), B_KEY: torch.full((3, 2), torch.nan)}, "NaN or infinite"),
        (
            {
                A_KEY: torch.ones(2, 5),
                B_KEY: torch.zeros(3, 2),
                A_KEY.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(3),
            },
            "wo: magnitude without use_dora",
        ),
    ],
)
def test_tensors_of_wrong_shape_are_errors(
    tensors: dict[str, torch.Tensor], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read_adapter(write(tmp_path, tensors))


def test_unsupported_kinds_of_adapters_are_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {A_KEY: torch.ones(1)},
        peft_type="LOHA",
        r=0,
        target_modules=None,
        alpha_pattern={"wo": 3},
        rank_pattern={},
    )
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in (
        "4 problems",
        "peft_type: ",
        "alpha_pattern: ",
        "r: must be",
        "target_modules: missing",
    ):
        assert part in str(error.value)


def test_missing_and_damaged_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*adapter_config"):
        read_adapter(tmp_path)
    folder = write(tmp_path, {A_KEY: torch.ones(2, 5), B_KEY: torch.zeros(3, 2)})
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=r"cannot read .*adapter_model"):
        read_adapter(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*adapter_model"):
        read_adapter(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"must be .*, got \[\]"):
        read_adapter(folder)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (
            {"wqkv.weight": torch.ones(2, 2)},
            "wqkv.weight: expected only matrices lora_A and lora_B",
        ),
        ({"wo.lora_A": torch.ones(2, 3)}, "wo.lora_B: missing"),
        ({"wo.lora_A": torch.ones(2, 3), "wo.lora_B": torch.ones(3, 1)}, "one rank, got [1, 2]"),
    ],
)
def test_other_checkpoints_are_not_converted(
    tmp_path: Path, tensors: dict[str, torch.Tensor], problem: str
) -> None:
    torch.save(tensors, tmp_path / "step.ckpt")
    with pytest.raises(CheckpointError) as error:
        convert_reference_adapter(tmp_path / "step.ckpt", 16, tmp_path / "adapter")
    assert problem in str(error.value)
    assert not (tmp_path / "adapter").exists()
