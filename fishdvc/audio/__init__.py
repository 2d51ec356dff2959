"""Reading and writing waveforms, loudness, and mel spectrograms."""
