"""Loading of model folders: accepted forms of checkpoints, and errors."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.model.checkpoint import load_dual_ar, load_weights


@pytest.fixture
def folder(assets: Path, tmp_path: Path) -> Path:
    for name in ("config.json", "special_tokens.json", "model.pth"):
        shutil.copyfile(assets / "text2semantic" / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def weights(assets: Path) -> dict[str, Tensor]:
    return load_weights(assets / "text2semantic/model.pth")


def split_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    split = {}
    for key, tensor in weights.items():
        if ".wqkv." not in key:
            split[key] = tensor
            continue
        for name, part in zip(("wq", "wk", "wv"), tensor.split((32, 16, 16)), strict=True):
            split[key.replace("wqkv", name)] = part.clone()
    return split


@pytest.mark.parametrize(
    "convert",
    [
        dict,
        lambda weights: {"state_dict": {f"model.{k}": v for k, v in weights.items()}, "epoch": 3},
        lambda weights: {"state_dict": weights},
        split_attention,
    ],
    ids=["flat", "training checkpoint", "wrapped", "split attention"],
)
def test_all_forms_of_a_checkpoint_give_the_same_weights(
    folder: Path, weights: dict[str, Tensor], convert: Callable[[dict[str, Tensor]], object]
) -> None:
    torch.save(convert(weights), folder / "model.pth")
    got = load_dual_ar(folder).state_dict()
    assert got.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(got[key], tensor), key


def test_only_a_leading_prefix_is_removed(tmp_path: Path) -> None:
    torch.save({"model.a.model.b": torch.ones(1)}, tmp_path / "x.pth")
    assert list(load_weights(tmp_path / "x.pth")) == ["a.model.b"]


def test_the_default_type_is_that_of_the_checkpoint(
    folder: Path, weights: dict[str, Tensor]
) -> None:
    torch.save({key: tensor.bfloat16() for key, tensor in weights.items()}, folder / "model.pth")
    for dtype, expected in ((None, torch.bfloat16), (torch.float32, torch.float32)):
        model = load_dual_ar(folder, dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {expected}
        assert not model.training


def test_the_first_semantic_id_is_read_from_special_tokens(folder: Path) -> None:
    content = {f"<|semantic:{code}|>": 900 + code for code in range(1024)}
    (folder / "special_tokens.json").write_text(json.dumps(content))
    assert load_dual_ar(folder).semantic_begin_id == 900


def test_all_differences_of_the_weights_are_listed(
    folder: Path, weights: dict[str, Tensor]
) -> None:
    del weights["norm.weight"]
    weights["fast_norm.weight"] = torch.ones(33)
    weights["head.bias"] = torch.ones(1)
    torch.save(weights, folder / "model.pth")
    with pytest.raises(CheckpointError) as error:
        load_dual_ar(folder)
    for part in (
        "model.pth",
        "3 problems",
        "norm.weight: missing",
        "head.bias: unexpected",
        "fast_norm.weight: expected shape (32,), got (33,)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"PK\x03\x04 cut", None],
    ids=["empty", "git lfs pointer", "cut", "truncated"],
)
def test_a_damaged_checkpoint_is_an_error(folder: Path, content: bytes | None) -> None:
    path = folder / "model.pth"
    path.write_bytes(path.read_bytes()[:-100_000] if content is None else content)
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.pth"):
        load_dual_ar(folder)


@pytest.mark.parametrize("content", [[1], {}, {"a": 1}, {3: torch.ones(1)}])
def test_a_checkpoint_without_tensors_is_an_error(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="expected a dict of tensors"):
        load_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["config.json", "special_tokens.json", "model.pth"])
def test_a_missing_file_is_an_error(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"cannot read .*{name}"):
        load_dual_ar(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a JSON object, got list"),
        ({"<|im_end|>": 3}, "got 0 semantic tokens"),
        ({"<|semantic:1|>": 3, "<|semantic:2|>": 4}, "got 2 semantic tokens"),
        ({"<|semantic:0|>": 3, "<|semantic:1|>": 5}, "expected consecutive ids"),
        ({"<|semantic:0|>": 2062, "<|semantic:1|>": 2063}, "vocab_size = 2063"),
        ({"<|semantic:0|>": 3}, r"1024 semantic tokens in special_tokens\.json, got 1"),
    ],
)
def test_wrong_special_tokens_are_an_error(folder: Path, content: object, message: str) -> None:
    (folder / "special_tokens.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        load_dual_ar(folder)


def test_loading_does_not_import_the_compiler(folder: Path) -> None:
    """The import takes seconds."""
    code = (
        "import sys; from fishdvc.model.checkpoint import load_dual_ar; load_dual_ar(sys.argv[1]); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
