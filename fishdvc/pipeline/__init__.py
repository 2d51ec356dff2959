"""One file per stage: its parameters and one function."""
