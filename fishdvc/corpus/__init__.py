"""Clips of a dataset folder, and reports of unusable clips."""
