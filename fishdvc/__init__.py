"""fishdvc: fine-tune fish-speech 1.5 on a user's own voice, as a reproducible DVC pipeline.

This package imports nothing by itself, so that a stage loads only what it uses.
"""
