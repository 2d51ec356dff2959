"""Atomic writes, and a cache of single files."""
