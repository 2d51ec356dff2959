"""Text on its way to the model: cleaning, tokens, and prompts of text and codes. Needs no torch."""

from fishdvc.text.tokenizer import Tokenizer, load_tokenizer

__all__ = ["Tokenizer", "load_tokenizer"]
