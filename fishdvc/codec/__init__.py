"""The audio codec firefly-GAN-VQ-FSQ: waveforms to codes and back."""
