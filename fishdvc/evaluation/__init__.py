"""Measure speech, compare checkpoints and choose one."""
