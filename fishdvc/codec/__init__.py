"""The audio codec firefly-GAN-VQ-FSQ: waveforms to codes and back."""

from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig

__all__ = ["Codec", "CodecConfig", "load_codec"]
