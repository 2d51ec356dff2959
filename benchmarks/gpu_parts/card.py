"""Write the random base, and measure matrix products and copies of the device."""

import statistics

import torch
from full_size_base import make_base

from gpu_parts.measuring import Record, Setup, repeat_s, timed_s

NUM_PRODUCTS = 20
NUM_COPIES = 10


def measure(setup: Setup, record: Record) -> None:
    """Record the time of making the base, TFLOP/s and GB/s."""
    with record.case("make the random base") as figures:
        figures["s"] = timed_s(
            setup.device,
            lambda: make_base(setup.base, tiny=setup.tiny, device=setup.device.type),
        )
    size = 256 if setup.tiny else 8192
    with record.case(f"matrix product {size} x {size}") as figures:
        a, b = (torch.randn(size, size, device=setup.device, dtype=setup.dtype) for _ in range(2))
        product = torch.empty_like(a)

        def products() -> None:
            for _ in range(NUM_PRODUCTS):
                torch.mm(a, b, out=product)

        products()
        times_s = repeat_s(setup.device, products, budget_s=setup.budget_s / 4)
        figures["tflop_per_s"] = 2e-12 * size**3 * NUM_PRODUCTS / statistics.median(times_s)
        figures["dtype"] = str(setup.dtype).removeprefix("torch.")
    num_bytes = 2**20 if setup.tiny else 2**30
    with record.case("copy in the device's memory") as figures:
        source = torch.zeros(num_bytes, device=setup.device, dtype=torch.uint8)
        target = torch.empty_like(source)

        def copies() -> None:
            for _ in range(NUM_COPIES):
                target.copy_(source)

        copies()
        times_s = repeat_s(setup.device, copies, budget_s=setup.budget_s / 4)
        # Each copy reads and writes every byte.
        figures["gb_per_s"] = 2e-9 * num_bytes * NUM_COPIES / statistics.median(times_s)
