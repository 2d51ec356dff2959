"""The dual-AR language model over text and codes."""
