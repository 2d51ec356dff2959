"""Train the demo's base model from scratch, and measure it."""
