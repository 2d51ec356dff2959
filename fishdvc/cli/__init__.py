"""The command ``fishdvc``."""
