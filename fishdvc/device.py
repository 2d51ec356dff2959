"""Where to compute: a name that people write, such as ``auto``, becomes a device."""

import torch

from fishdvc.errors import ParamsError


def choose_device(name: str) -> torch.device:
    """Find a device; ``auto`` takes a GPU where there is one.

    Raises:
        ParamsError: This machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, is_there in available.items() if is_there)
    if not available[name]:
        raise ParamsError(f"device: {name} asked for, but PyTorch finds none here; use auto or cpu")
    return torch.device(name)
