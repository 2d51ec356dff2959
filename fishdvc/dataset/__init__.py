"""Shards of transcripts and codes, training sequences and batches."""
