"""Waveforms and what is measured on them: reading and writing, loudness, mel spectrograms."""
