"""Atomic writes, a cache of files and hashes of source code."""
