"""Sizes of a dual-AR model, read from config.json. Fields have the names of the file's keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fishdvc.validation import Checked, parse_json

Width = Annotated[int, Field(ge=1, le=2**16)]
NumBlocks = Annotated[int, Field(ge=1, le=1000)]
NumIds = Annotated[int, Field(ge=1, le=10**7)]
"""Limits on what a file may state, so that a damaged one does not fill the memory."""

FALLBACKS = {
    "fast_dim": "dim",
    "fast_n_head": "n_head",
    "fast_n_local_heads": "n_local_heads",
    "fast_intermediate_size": "intermediate_size",
    "fast_attention_qkv_bias": "attention_qkv_bias",
}
"""Keys of the fast transformer, each with the key whose value it takes if it is missing."""


class DualARConfig(Checked, extra="ignore"):
    """Sizes of the slow and the fast transformer. Missing ``fast_*`` sizes are the slow ones.

    The last keys choose an architecture in other releases of fish-speech. Their weights would load
    here and generate noise.
    """

    vocab_size: NumIds = Field(description="Rows of the text embeddings, all tokens included.")
    max_seq_len: NumIds = Field(description="Longest sequence of the slow transformer, in tokens.")
    codebook_size: NumIds = Field(description="Codes per codebook.")
    num_codebooks: NumBlocks = Field(description="Codebooks per frame.")
    dim: Width = Field(description="Width of the slow transformer.")
    n_layer: NumBlocks = Field(description="Blocks of the slow transformer.")
    n_head: Width = Field(description="Query heads.")
    n_local_heads: Width = Field(description="Key/value heads; -1 means n_head.")
    intermediate_size: Width = Field(description="Width inside the feed-forward.")
    n_fast_layer: NumBlocks = Field(description="Blocks of the fast transformer.")
    fast_dim: Width = Field(description="Width of the fast transformer; must equal dim.")
    fast_n_head: Width = Field(description="Query heads of the fast transformer.")
    fast_n_local_heads: Width = Field(description="Key/value heads of the fast transformer.")
    fast_intermediate_size: Width = Field(description="Width inside the fast feed-forward.")
    attention_qkv_bias: bool = Field(False, description="Whether wqkv has a bias.")
    fast_attention_qkv_bias: bool = Field(False, description="Whether the fast wqkv has a bias.")
    rope_base: float = Field(1e6, gt=0, description="Base of the rotary angles.")
    norm_eps: float = Field(1e-6, gt=0, description="Added to the mean square in every RMSNorm.")
    tie_word_embeddings: bool = Field(
        False, description="Whether the vocabulary head is the text embedding."
    )
    model_type: Literal["dual_ar"] = "dual_ar"
    dropout: float = Field(0.0, ge=0, le=0)
    is_reward_model: Literal[False] = False
    share_codebook_embeddings: Literal[True] = True
    scale_codebook_embeddings: Literal[False] = False
    norm_fastlayer_input: Literal[False] = False
    attention_qk_norm: Literal[False] = False
    fast_attention_qk_norm: Literal[False] = False
    attention_o_bias: Literal[False] = False
    fast_attention_o_bias: Literal[False] = False
    head_dim: Width | None = None
    fast_head_dim: Width | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        if given.get("n_local_heads") == -1 and "n_head" in given:
            given["n_local_heads"] = given["n_head"]
        copied = {key: given[source] for key, source in FALLBACKS.items() if source in given}
        return copied | given

    def inconsistencies(self) -> Iterator[str]:
        """Check that the widths split into heads and the heads into groups."""
        for prefix in ("", "fast_"):
            names = ("dim", "n_head", "n_local_heads", "head_dim")
            dim, heads, groups, head_dim = (getattr(self, f"{prefix}{name}") for name in names)
            if dim % (2 * heads):
                yield f"{prefix}dim: {dim} does not split into {heads} heads of even size"
            if heads % groups:
                yield f"{prefix}n_local_heads: {groups} does not divide {heads} heads"
            if head_dim not in (None, dim // heads):
                expected = f"{prefix}dim / {prefix}n_head = {dim // heads}"
                yield f"{prefix}head_dim: must be {expected}, got {head_dim}"
        if self.fast_dim != self.dim:
            yield f"fast_dim: must be dim = {self.dim}, got {self.fast_dim}"

    def to_dict(self) -> dict[str, Any]:
        """Return the values by key. PEFT reads the config of a model by this method."""
        return self.model_dump()


def read_config(path: Path) -> DualARConfig:
    """Read and check a config.json.

    A null value counts as a missing key. Keys that do not affect the computation are ignored.

    Raises:
        CheckpointError: The file cannot be read, or values are missing, of the wrong type, do not
            fit together or belong to another architecture. The message lists every problem.
    """
    return parse_json(path, DualARConfig)
