"""The recipe for the small base model in ``demo_base/checkpoint``; see README.md beside this."""
