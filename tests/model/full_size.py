"""Sizes of the published model."""

from fishdvc.model.config import DualARConfig

FULL_SIZE = DualARConfig(
    vocab_size=102048,
    max_seq_len=8192,
    codebook_size=1024,
    num_codebooks=8,
    dim=1024,
    n_layer=24,
    n_head=16,
    n_local_heads=2,
    intermediate_size=4096,
    n_fast_layer=4,
)
