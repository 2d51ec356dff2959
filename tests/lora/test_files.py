"""Damaged and foreign adapter files are refused with one clear error."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fishdvc.errors import CheckpointError
from fishdvc.lora.files import read_adapter
from fishdvc.lora.reference import read_reference_adapter

A_KEY = "base_model.model.layers.0.attention.wo.lora_A.weight"
B_KEY = "base_model.model.layers.0.attention.wo.lora_B.weight"


def write(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    content = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_a_folder_is_read_without_a_model(tmp_path: Path) -> None:
    folder = write(tmp_path, {A_KEY: torch.ones(2, 5), B_KEY: torch.zeros(3, 2)}, use_rslora=True)
    adapter = read_adapter(folder)
    assert adapter.scale == pytest.approx(4 / 2**0.5)
    module = adapter.modules["layers.0.attention.wo"]
    assert (module.lora_a.shape, module.lora_b.shape) == ((2, 5), (3, 2))
    assert not module.is_embedding
    assert module.magnitude is None


def test_all_that_is_wrong_with_the_tensors_is_listed(tmp_path: Path) -> None:
    embedding = "base_model.model.embeddings.lora_embedding_A"
    tensors = {A_KEY: torch.ones(3, 5), B_KEY: torch.zeros(3, 3), embedding: torch.ones(2, 2)}
    folder = write(tmp_path, {**tensors, "head": torch.ones(1)}, use_dora=True)
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in ("rank 2 expected", "lora_b missing", "head: unknown", "magnitude is missing"):
        assert part in str(error.value)


def test_kinds_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {A_KEY: torch.ones(1)}, peft_type="LOHA", r=0, alpha_pattern={"wo": 3})
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in ("3 problems", "peft_type", "alpha_pattern", "r: a whole number"):
        assert part in str(error.value)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="adapter_config"):
        read_adapter(tmp_path)
    folder = write(tmp_path, {A_KEY: torch.ones(2, 5), B_KEY: torch.zeros(3, 2)})
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="adapter_model"):
        read_adapter(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="adapter_model"):
        read_adapter(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="object expected, got list"):
        read_adapter(folder)


def test_a_whole_model_is_no_reference_adapter(assets: Path) -> None:
    with pytest.raises(CheckpointError, match=r"wqkv\.weight: unknown"):
        read_reference_adapter(assets / "text2semantic/model.pth", alpha=16)
