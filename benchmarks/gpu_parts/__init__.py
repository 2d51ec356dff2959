"""The parts of ``gpu.py``, one file each. Every part runs in a process of its own."""
