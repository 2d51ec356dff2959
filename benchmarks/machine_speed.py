"""Speed of this machine: float32 matrix products on all threads."""

import time

import torch


def measure_gflops(size: int = 1024, repeats: int = 20) -> float:
    """Return 10**9 floating point operations per second."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    start_s = time.perf_counter()
    for _ in range(repeats):
        a @ b
    return 2e-9 * size**3 * repeats / (time.perf_counter() - start_s)
