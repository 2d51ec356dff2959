"""The clips of a dataset folder, and the report of bad ones."""
