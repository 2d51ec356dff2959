"""The sizes of a dual-AR model, as its folder's config.json gives them.

Knows the file's keys and which of their values this package can run; knows no weights. Keys that
do not touch the computation (initializer_range, use_gradient_checkpointing and the like) are left
out; keys that would make another model of the same weights are refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishdvc.errors import CheckpointError, list_problems

# Each is a choice of architecture made by other fish-speech releases; loading such weights here
# would run and give noise. Absent or null means the value of fish-speech 1.5.
_ONLY_VALUES: dict[str, object] = {
    "model_type": "dual_ar",
    "dropout": 0.0,
    "is_reward_model": False,
    "share_codebook_embeddings": True,
    "scale_codebook_embeddings": False,
    "norm_fastlayer_input": False,
    "attention_qk_norm": False,
    "fast_attention_qk_norm": False,
    "attention_o_bias": False,
    "fast_attention_o_bias": False,
}


@dataclass(frozen=True, kw_only=True)
class DualARConfig:
    """Sizes of the slow and the fast transformer, named as in config.json."""

    vocab_size: int
    """Rows of the text embeddings, special and semantic tokens included."""
    max_seq_len: int
    """Longest sequence of the slow transformer, in tokens."""
    codebook_size: int
    """Codes per codebook that the model can express."""
    num_codebooks: int
    """Codebooks per frame, the places of the fast transformer."""
    dim: int
    """Width of the slow transformer's residual stream."""
    n_layer: int
    """Blocks of the slow transformer."""
    n_head: int
    """Query heads."""
    n_local_heads: int
    """Key/value heads; each serves ``n_head / n_local_heads`` query heads."""
    intermediate_size: int
    """Width inside the feed-forward."""
    n_fast_layer: int
    """Blocks of the fast transformer."""
    fast_dim: int
    """Width of the fast transformer; must equal ``dim``."""
    fast_n_head: int
    """Query heads of the fast transformer."""
    fast_n_local_heads: int
    """Key/value heads of the fast transformer."""
    fast_intermediate_size: int
    """Width inside the fast feed-forward."""
    attention_qkv_bias: bool = False
    """Whether ``wqkv`` of the slow transformer has a bias."""
    fast_attention_qkv_bias: bool = False
    """Whether ``wqkv`` of the fast transformer has a bias."""
    rope_base: float = 1e6
    """Base of the rotary angles."""
    norm_eps: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    tie_word_embeddings: bool = False
    """Whether the vocabulary head is the text embedding itself."""

    @property
    def head_dim(self) -> int:
        """Values per head of the slow transformer."""
        return self.dim // self.n_head

    @property
    def fast_head_dim(self) -> int:
        """Values per head of the fast transformer."""
        return self.fast_dim // self.fast_n_head


_COUNTS = (
    "vocab_size",
    "max_seq_len",
    "codebook_size",
    "num_codebooks",
    "dim",
    "n_layer",
    "n_head",
    "n_local_heads",
    "intermediate_size",
    "n_fast_layer",
    "fast_dim",
    "fast_n_head",
    "fast_n_local_heads",
    "fast_intermediate_size",
)
_FLAGS = ("attention_qkv_bias", "fast_attention_qkv_bias", "tie_word_embeddings")
_POSITIVE = ("rope_base", "norm_eps")
# Left out of the file, or null, these take the slow transformer's value.
_FAST_OF_SLOW = {
    "fast_dim": "dim",
    "fast_n_head": "n_head",
    "fast_n_local_heads": "n_local_heads",
    "fast_intermediate_size": "intermediate_size",
    "fast_attention_qkv_bias": "attention_qkv_bias",
}


def read_config(path: Path) -> DualARConfig:
    """Read and check a config.json.

    Args:
        path: The file.

    Returns:
        The sizes; missing ``fast_*`` values are the slow transformer's.

    Raises:
        CheckpointError: The file is missing or no JSON object, or values are missing, of the wrong
            type, do not fit together or ask for another architecture (all of them listed).
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a JSON object of model sizes expected, got {error}; copy it from the base"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a JSON object expected, got {type(content).__name__}")
    given = {key: value for key, value in content.items() if value is not None}
    for key, slow_key in _FAST_OF_SLOW.items():
        if slow_key in given:
            given.setdefault(key, given[slow_key])
    if given.get("n_local_heads") == -1:  # the reference's spelling of "no grouping"
        given["n_local_heads"] = given.get("n_head")

    problems = _problems_of_values(given)
    if not problems:
        problems = _problems_of_shapes(given)
    if problems:
        raise CheckpointError(list_problems(f"{path}: not a usable dual-AR config", problems))
    fields = [*_COUNTS, *_FLAGS, *_POSITIVE]
    return DualARConfig(**{key: given[key] for key in fields if key in given})


def _problems_of_values(given: dict[str, Any]) -> list[str]:
    problems = []
    for key, value in _ONLY_VALUES.items():
        if key in given and given[key] != value:
            problems.append(f"{key}: only {value!r} is supported, got {given[key]!r}")
    for key in _COUNTS:
        if key not in given:
            problems.append(f"{key}: missing")
        elif type(given[key]) is not int or given[key] < 1:
            problems.append(f"{key}: a whole number of at least 1 expected, got {given[key]!r}")
    for key in _FLAGS:
        if key in given and type(given[key]) is not bool:
            problems.append(f"{key}: true or false expected, got {given[key]!r}")
    for key in _POSITIVE:
        if key in given and (type(given[key]) not in (int, float) or not given[key] > 0):
            problems.append(f"{key}: a number above 0 expected, got {given[key]!r}")
    return problems


def _problems_of_shapes(given: dict[str, Any]) -> list[str]:
    problems = []
    for prefix in ("", "fast_"):
        dim, heads = given[f"{prefix}dim"], given[f"{prefix}n_head"]
        groups = given[f"{prefix}n_local_heads"]
        if dim % (2 * heads):
            problems.append(f"{prefix}dim: {dim} does not split into {heads} heads of even size")
        elif given.get(f"{prefix}head_dim", dim // heads) != dim // heads:
            problems.append(
                f"{prefix}head_dim: only {prefix}dim / {prefix}n_head = {dim // heads} is "
                f"supported, got {given[f'{prefix}head_dim']!r}"
            )
        if heads % groups:
            problems.append(f"{prefix}n_local_heads: {groups} does not divide {heads} heads")
    if given["fast_dim"] != given["dim"]:
        problems.append(
            f"fast_dim: only dim = {given['dim']} is supported, got {given['fast_dim']}"
        )
    return problems
