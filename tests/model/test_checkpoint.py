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
        lambda weights: {"state_dict": {f"model.{k}": v for k, v in weights.items()}},
        split_attention,
    ],
    ids=["flat", "training checkpoint", "split attention"],
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


def test_weights_that_do_not_fit_the_config_are_an_error(
    folder: Path, weights: dict[str, Tensor]
) -> None:
    del weights["norm.weight"]
    weights["layers.0.attention.wk.weight"] = torch.ones(1)
    torch.save(weights, folder / "model.pth")
    with pytest.raises(CheckpointError, match=r"(?s)2 problems.* norm.* missing.*wk.* unexpected"):
        load_dual_ar(folder)


@pytest.mark.parametrize("name", ["config.json", "special_tokens.json", "model.pth"])
def test_a_missing_file_is_an_error(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"cannot read .*{name}"):
        load_dual_ar(folder)


def test_the_first_semantic_id_is_read_from_special_tokens(folder: Path) -> None:
    write_semantic_tokens(folder, range(1039, 2063))
    assert load_dual_ar(folder).semantic_begin_id == 1039


@pytest.mark.parametrize("ids", [range(1040, 2064), range(-1, 1023), range(900, 1900)])
def test_semantic_tokens_that_do_not_fit_the_config_are_an_error(folder: Path, ids: range) -> None:
    write_semantic_tokens(folder, ids)
    message = f"1024 semantic tokens .* vocab_size = 2063, got {len(ids)} with ids {ids[0]}.."
    with pytest.raises(CheckpointError, match=message):
        load_dual_ar(folder)


def test_a_special_token_beyond_the_vocabulary_is_an_error(folder: Path) -> None:
    write_semantic_tokens(folder, range(1039, 2063), **{"<|pad|>": 2062})
    load_dual_ar(folder)

    write_semantic_tokens(folder, range(1039, 2063), **{"<|pad|>": 2063})
    with pytest.raises(CheckpointError, match=r"below vocab_size = 2063, .* largest id of 2063"):
        load_dual_ar(folder)


def write_semantic_tokens(folder: Path, ids: range, **others: int) -> None:
    content = {f"<|semantic:{code}|>": token_id for code, token_id in enumerate(ids)}
    (folder / "special_tokens.json").write_text(json.dumps(others | content))


def test_loading_does_not_import_the_compiler(folder: Path) -> None:
    """The import takes seconds."""
    code = (
        "import sys; from fishdvc.model.checkpoint import load_dual_ar; load_dual_ar(sys.argv[1]); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
