"""Reading of config.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from fishdvc.errors import CheckpointError
from fishdvc.model.config import DualARConfig, read_config


@pytest.fixture
def content(assets: Path) -> dict[str, Any]:
    return json.loads((assets / "text2semantic/config.json").read_text())


def read(tmp_path: Path, content: object) -> DualARConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return read_config(path)


def test_the_small_model_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    config = read(tmp_path, content)
    assert (config.dim, config.n_head, config.n_local_heads, config.n_layer) == (32, 4, 2, 3)
    assert (config.vocab_size, config.rope_base) == (2063, 1e6)


def test_keys_that_do_not_affect_the_computation_are_ignored(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    more = {**content, "initializer_range": 0.5, "architectures": ["X"], "dropout": 0}
    assert read(tmp_path, more) == read(tmp_path, content)


def test_missing_and_null_fast_sizes_equal_the_slow_ones(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    short = {k: v for k, v in content.items() if not k.startswith("fast_")}
    given = read(tmp_path, {**short, "fast_dim": None, "fast_head_dim": content["fast_head_dim"]})
    assert given == read(tmp_path, content)


def test_minus_one_local_heads_means_all_heads(tmp_path: Path, content: dict[str, Any]) -> None:
    config = read(tmp_path, {**content, "n_local_heads": -1})
    assert config.n_local_heads == config.n_head


def test_all_problems_are_listed(tmp_path: Path, content: dict[str, Any]) -> None:
    del content["n_layer"]
    bad = {
        "model_type": "naive",
        "scale_codebook_embeddings": True,
        "attention_qk_norm": True,
        "vocab_size": "2063",
        "num_codebooks": 0,
        "norm_eps": -1,
        "tie_word_embeddings": 1,
    }
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, {**content, **bad})
    assert "8 problems" in str(error.value)
    assert all(f"\n  {name}: " in str(error.value) for name in ("n_layer", *bad))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 10**7}, "n_layer: must be less than or equal to 1000, got 10000000"),
        ({"dim": 10**9}, "dim: must be less than or equal to 65536"),
        ({"head_dim": 16}, "head_dim: must be dim / n_head = 8, got 16"),
        ({"n_local_heads": 3}, "n_local_heads: 3 does not divide 4 heads"),
        ({"n_head": 5}, "dim: 32 does not split into 5 heads"),
        ({"fast_dim": 64, "fast_head_dim": 16}, "fast_dim: must be dim = 32, got 64"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    tmp_path: Path, content: dict[str, Any], change: dict[str, int], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, {**content, **change})


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"dim": "\xff"}', b"[" * 100_000])
def test_a_missing_or_damaged_file_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        read_config(tmp_path / "config.json")
