"""Text cleaning, the tokenizer, and prompts of text and codes."""
