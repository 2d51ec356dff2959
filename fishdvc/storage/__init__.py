"""Atomic writes, a cache of files, hashes of source code, and tensors of PyTorch files."""
