"""The listening page: what an evaluation found, to read and to hear in a browser."""
