"""Generation: from texts to codes and sound, to hear what a model has learned."""

from fishdvc.generation.generate import generate
from fishdvc.generation.sampling import Sampling
from fishdvc.generation.speaker import Reference, Speaker, Speech

__all__ = ["Reference", "Sampling", "Speaker", "Speech", "generate"]
