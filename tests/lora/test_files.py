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
    folder = write(tmp_path, {A_KEY: torch.ones(2, 5), B_KEY: torch.ones(3, 2)}, use_rslora=True)
    adapter = read_adapter(folder)
    assert adapter.scale == pytest.approx(4 / 2**0.5)
    assert adapter.targets == ("wo",)
    module = adapter.modules["layers.0.attention.wo"]
    assert (module.lora_a.shape, module.lora_b.shape) == ((2, 5), (3, 2))
    assert not module.is_embedding
    assert module.magnitude is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_floating_point_type_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {A_KEY: torch.randn(2, 5).to(dtype), B_KEY: torch.randn(3, 2).to(dtype)}
    module = read_adapter(write(tmp_path, tensors)).modules["layers.0.attention.wo"]
    for key, array in ((A_KEY, module.lora_a), (B_KEY, module.lora_b)):
        assert torch.equal(torch.from_numpy(array), tensors[key].float())


def test_all_problems_of_the_tensors_are_listed(tmp_path: Path) -> None:
    embedding = "base_model.model.embeddings.lora_embedding_A"
    tensors = {A_KEY: torch.ones(3, 5), B_KEY: torch.zeros(3, 3), embedding: torch.ones(2, 2)}
    # Of an embedding in a linear layer, and the reverse.
    unknown = ["head", A_KEY.replace("lora_A.weight", "lora_embedding_A")]
    unknown.append(embedding.replace("lora_embedding_A", "lora_A.weight"))
    tensors |= {key: torch.ones(2, 2) for key in unknown}
    folder = write(tmp_path, tensors, use_dora=True)
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in ("lora_b and magnitude missing", "wo: magnitude missing"):
        assert part in str(error.value)
    for key in unknown:
        assert f"{key}: unknown" in str(error.value)
    with pytest.raises(CheckpointError, match="wo: expected rank 2, got A and B of shapes"):
        read_adapter(write(tmp_path, tensors))


MAGNITUDE_KEY = A_KEY.replace("lora_A.weight", "lora_magnitude_vector")
TRAINED = {A_KEY: torch.ones(2, 5), B_KEY: torch.ones(3, 2)}


def test_modules_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    """So that messages are the same on every run."""
    keys = [f"base_model.model.{i}.wo.lora_{part}.weight" for i in range(9) for part in "AB"]
    folder = write(tmp_path, {key: torch.ones(2, 2) for key in reversed(keys)})
    assert list(read_adapter(folder).modules) == [f"{i}.wo" for i in range(9)]


@pytest.mark.parametrize("zeros", [{A_KEY}, {B_KEY}, {A_KEY, B_KEY}])
def test_an_untrained_adapter_is_read_only_if_it_is_allowed(
    zeros: set[str], tmp_path: Path
) -> None:
    tensors = {key: 0 * t if key in zeros else t for key, t in TRAINED.items()}
    folder = write(tmp_path, tensors)
    with pytest.raises(CheckpointError, match="all products of A and B are 0, so it changes noth"):
        read_adapter(folder)
    (module,) = read_adapter(folder, allow_untrained=True).modules.values()
    assert module.changes_nothing
    other = {key.replace("layers.0", "layers.1"): tensor.clone() for key, tensor in TRAINED.items()}
    assert len(read_adapter(write(tmp_path, {**tensors, **other})).modules) == 2


@pytest.mark.parametrize(
    ("tensors", "config", "is_read"),
    [
        # 4 / 2 times products of 2 times 7 times 7: 196
        ({A_KEY: torch.full((2, 5), 7.0), B_KEY: torch.full((3, 2), 7.0)}, {}, False),
        ({A_KEY: torch.full((2, 5), 7.0), B_KEY: torch.full((3, 2), 3.0)}, {}, True),
        ({A_KEY: torch.full((2, 5), 1e30), B_KEY: torch.full((3, 2), 1e-30)}, {}, True),
        ({A_KEY: torch.full((2, 5), 1e18), B_KEY: torch.full((3, 2), 1e18)}, {}, False),
        (TRAINED, {"lora_alpha": 1e9}, False),
        ({**TRAINED, MAGNITUDE_KEY: torch.full((3,), 200.0)}, {"use_dora": True}, True),
        ({**TRAINED, MAGNITUDE_KEY: torch.full((3,), 300.0)}, {"use_dora": True}, False),
    ],
)
def test_an_adapter_that_overwrites_the_base_is_refused(
    tensors: dict[str, torch.Tensor], config: dict[str, object], is_read: bool, tmp_path: Path
) -> None:
    folder = write(tmp_path, tensors, **config)
    if is_read:
        read_adapter(folder)
    else:
        with pytest.raises(CheckpointError, match=r"wo: changes the weight by up to .*100$"):
            read_adapter(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("lora_alpha", alpha) for alpha in (0, -4, "4", 1e400)), ("r", 0), ("r", 10**400)],
)
def test_an_alpha_or_rank_out_of_range_is_refused(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{name}: must be"):
        read_adapter(write(tmp_path, TRAINED, **{name: value}))


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
                MAGNITUDE_KEY: torch.ones(3),
            },
            "wo: magnitude without use_dora",
        ),
        ({A_KEY: torch.ones(2, 0), B_KEY: torch.zeros(3, 2)}, "wo: expected rank 2"),
        ({A_KEY: torch.ones(2, 5)}, "wo: lora_b missing"),
        ({}, "no tensors"),
    ],
)
def test_wrong_tensors_are_errors(
    tensors: dict[str, torch.Tensor], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read_adapter(write(tmp_path, tensors))


@pytest.mark.parametrize(
    ("magnitude", "problem"),
    [
        (torch.ones(2), "and a magnitude of"),
        (torch.zeros(3), "all magnitudes are 0"),
        (None, "magnitude missing"),
    ],
)
def test_wrong_magnitudes_are_errors(
    magnitude: torch.Tensor | None, problem: str, tmp_path: Path
) -> None:
    tensors = TRAINED if magnitude is None else {**TRAINED, MAGNITUDE_KEY: magnitude}
    with pytest.raises(CheckpointError, match=problem):
        read_adapter(write(tmp_path, tensors, use_dora=True))


def test_unsupported_kinds_of_adapters_are_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {A_KEY: torch.ones(1)},
        peft_type="LOHA",
        r=0,
        target_modules=None,
        alpha_pattern={"wo": 3},
        layers_to_transform=[1],
        exclude_modules=["wo"],
        rank_pattern={},
    )
    with pytest.raises(CheckpointError) as error:
        read_adapter(folder)
    for part in (
        "6 problems",
        "peft_type: ",
        "alpha_pattern: ",
        "layers_to_transform: ",
        "exclude_modules: ",
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
