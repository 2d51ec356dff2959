"""The base model's folder: its files, and their download from a hub."""
