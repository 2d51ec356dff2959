"""Generation: from a prompt to codes, to hear what a model has learned."""

from fishdvc.generation.generate import generate

__all__ = ["generate"]
