"""Generation: from text to codes and waveforms."""
